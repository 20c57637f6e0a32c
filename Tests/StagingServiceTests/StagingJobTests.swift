import JSON
import Testing

@testable import StagingService

@Suite("A staging task as a Job")
struct StagingJobTests {
    static let limits = StagingJob.Limits(memory: 1 << 30, disk: 4 << 30, time: 900)

    private static func job(guid: String = "task-1", space: String = "space-1") -> StagingJob {
        StagingJob(
            guid: guid, space: space, namespace: "staging", image: "r/cistern/builder/s@sha256:0", limits: limits,
            download: ["DOWNLOAD_URL": "https://app:s3cret-d@host/x"],
            upload: ["DROPLET_UPLOAD_URL": "https://drop:s3cret-u@host/x"],
            environment: [["name": "KEY", "value": "s3cret-e"]], platform: [("CF_STACK", "cflinuxfs4")],
            transferOptions: ["--allow-host", "registry"], authorities: "PEM", pullSecrets: ["pull"])
    }

    private static func containers(_ job: StagingJob) throws -> [JSONValue] {
        let pod = try #require(job.job["spec"]?["template"]?["spec"])
        return try #require(pod["initContainers"]?.array) + #require(pod["containers"]?.array)
    }

    @Test("no secret stands in the Job, and each step mounts its own alone")
    func secrets() throws {
        let job = Self.job()
        #expect(!job.job.canonicalText.contains("s3cret"))
        let secrets = job.secrets(ownedBy: "uid-1")
        var byName: [String: String] = [:]
        for secret in secrets {
            byName[try #require(secret["metadata"]?["name"]?.string)] = secret["stringData"]?.canonicalText
            #expect(secret["metadata"]?["ownerReferences"]?.array?.first?["uid"]?.string == "uid-1")
        }
        let volumes = try #require(job.job["spec"]?["template"]?["spec"]?["volumes"]?.array)
        for (step, own) in zip(try Self.containers(job), ["s3cret-d", "s3cret-e", "s3cret-u"]) {
            let mounted = try #require(step["volumeMounts"]?.array).compactMap { mount in
                volumes.first { $0["name"] == mount["name"] }?["secret"]?["secretName"]?.string
            }
            #expect(mounted.count == 1)
            let seen = try #require(byName[mounted[0]])
            #expect(
                seen.contains(own) && !["s3cret-d", "s3cret-e", "s3cret-u"].contains { $0 != own && seen.contains($0) })
        }
    }

    @Test("the steps run in order, meet in the contract's directories alone, and upload can't write what build made")
    func volumes() throws {
        let containers = try Self.containers(Self.job())
        #expect(containers.map { $0["name"]?.string } == ["download", "build", "upload"])
        func mounts(_ step: Int) -> [String: Bool] {
            Dictionary(
                uniqueKeysWithValues: (containers[step]["volumeMounts"]?.array ?? []).map {
                    ($0["name"]?.string ?? "", $0["readOnly"]?.bool ?? false)
                })
        }
        #expect(mounts(0).filter { !$0.value }.keys.sorted() == ["buildpacks", "download-tmp", "workspace"])
        #expect(mounts(1).filter { !$0.value }.keys.sorted() == ["build-tmp", "output"])
        #expect(mounts(2).filter { !$0.value }.keys.sorted() == ["upload-tmp"])
        #expect(mounts(2)["workspace"] == nil && mounts(2)["output"] == true)
    }

    /// The Pod Security Standard `restricted`, and what the issue of staging asks for besides.
    @Test("nothing of its security is left to defaults")
    func security() throws {
        let job = Self.job()
        let pod = try #require(job.job["spec"]?["template"]?["spec"])
        #expect(pod["automountServiceAccountToken"] == false && pod["securityContext"]?["runAsNonRoot"] == true)
        #expect(pod["securityContext"]?["seccompProfile"]?["type"] == "RuntimeDefault")
        #expect(pod["activeDeadlineSeconds"] == 900 && job.job["spec"]?["activeDeadlineSeconds"] == nil)
        for name in ["hostNetwork", "hostPID", "hostIPC", "serviceAccountName"] { #expect(pod[name] == nil) }
        for container in try Self.containers(job) {
            let context = try #require(container["securityContext"])
            #expect(context["allowPrivilegeEscalation"] == false && context["readOnlyRootFilesystem"] == true)
            #expect(context["capabilities"]?["drop"] == ["ALL"] && context["capabilities"]?["add"] == nil)
            for kind in ["requests", "limits"] {
                for resource in ["memory", "ephemeral-storage"] {
                    #expect(container["resources"]?[kind]?[resource]?.string?.isEmpty == false)
                }
            }
        }
        for volume in try #require(pod["volumes"]?.array) {
            #expect(volume["emptyDir"]?["sizeLimit"] != nil || volume["secret"] != nil)
        }
    }

    @Test("names and labels are ones that an API server takes, whatever a guid and a space are called")
    func names() throws {
        let name = /[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/
        let label = /([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?/
        for text in ["A.b_c", String(repeating: "x", count: 200), "-a-", "", "ümläut", "a/b"] {
            let job = Self.job(guid: text, space: text)
            #expect(job.name.wholeMatch(of: name) != nil)
            for secret in job.secrets(ownedBy: "u") {
                #expect(try #require(secret["metadata"]?["name"]?.string).wholeMatch(of: name) != nil)
            }
            for value in job.labels.values { #expect(try #require(value.string).wholeMatch(of: label) != nil) }
            #expect(Self.job(guid: text).name == job.name)
        }
        #expect(Self.job(guid: "a").name != Self.job(guid: "b").name)
    }
}

@Suite("What a staging task's pod says")
struct PodOutcomeTests {
    private static func pod(
        _ phase: String = "Pending", reason: String = "", message: String = "", build: JSONValue? = nil,
        download: JSONValue? = nil, upload: JSONValue? = nil, conditions: [JSONValue] = []
    ) -> JSONValue {
        func statuses(_ steps: [(String, JSONValue?)]) -> JSONValue {
            .array(steps.compactMap { step in step.1.map { ["name": .string(step.0), "state": $0] } })
        }
        return [
            "status": [
                "phase": .string(phase), "reason": .string(reason), "message": .string(message),
                "conditions": .array(conditions),
                "initContainerStatuses": statuses([("download", download), ("build", build)]),
                "containerStatuses": statuses([("upload", upload)]),
            ]
        ]
    }

    private static func ended(_ code: Int64, _ reason: String = "Error", _ message: String = "") -> JSONValue {
        ["terminated": ["exitCode": .integer(code), "reason": .string(reason), "message": .string(message)]]
    }

    private static func outcome(_ pod: JSONValue, age: Int64 = 10) -> PodOutcome {
        PodOutcome(pod: pod, limits: StagingJobTests.limits, age: age)
    }

    @Test("it runs until all steps have ended")
    func running() {
        #expect(Self.outcome(["status": [:]]) == .running && Self.outcome([:]) == .running)
        #expect(Self.outcome(Self.pod("Running", download: Self.ended(0, "Completed"))) == .running)
        #expect(Self.outcome(Self.pod("Succeeded", upload: Self.ended(0, "Completed"))) == .succeeded)
    }

    @Test(
        "each kind of failure says what it was",
        arguments: [
            (
                pod("Failed", download: ended(1, "Error", "-> x\nstage-download: the app: the server said 404")),
                "download", .other, "download: the app: the server said 404"
            ),
            (
                pod(
                    "Failed",
                    build: ended(
                        223, "Error",
                        #"{"failure":{"message":"go's compile failed with exit code 7","phase":"compile","buildpack":"go"}}"#
                    )
                ),
                "compile", .compile, "go's compile failed with exit code 7"
            ),
            (
                pod("Failed", build: ended(222, "Error", "words")), "build", .nothingDetected,
                "the build failed with exit code 222"
            ),
            (
                pod("Failed", build: ended(137, "OOMKilled")), "build", .insufficientResources,
                "the build needed more memory than its limit of 1024 MiB"
            ),
            (
                pod("Failed", upload: ended(137, "OOMKilled")), "upload", .insufficientResources,
                "the upload needed more memory than its limit of 256 MiB"
            ),
            (
                pod(
                    "Failed", reason: "Evicted", message: "Pod ephemeral local storage usage exceeds the total limit.",
                    build: ended(137)), "build", .insufficientResources,
                "the task wrote more than its limit of 4096 MiB"
            ),
            (
                pod("Failed", reason: "Evicted", message: "The node was low on resource: memory. "), "start",
                .insufficientResources,
                "the node had no room left and evicted the task: The node was low on resource: memory. "
            ),
            (
                pod("Failed", reason: "DeadlineExceeded", build: ended(143)), "build", .other,
                "the task took longer than its limit of 900 seconds"
            ),
            (pod("Failed", message: "odd\u{1B}[31m thing."), "start", .other, "the task's pod failed: odd[31m thing"),
            (
                pod(download: [
                    "waiting": ["reason": "CreateContainerConfigError", "message": "secret \"x\" not found"]
                ]),
                "start", .other, "the step download can't start, CreateContainerConfigError: secret \"x\" not found"
            ),
        ] as [(JSONValue, String, StagingFailure.ID, String)])
    func failures(pod: JSONValue, phase: String, id: StagingFailure.ID, message: String) throws {
        guard case .failed(let failure) = Self.outcome(pod) else {
            Issue.record("\(Self.outcome(pod))")
            return
        }
        #expect(failure.phase == phase && failure.id == id && failure.message == message, "\(failure)")
    }

    @Test("an image that can't be pulled and nodes without room are waited for, but not for ever")
    func patience() throws {
        let pull = Self.pod(download: ["waiting": ["reason": "ImagePullBackOff", "message": "Back-off pulling image"]])
        #expect(Self.outcome(pull) == .running)
        guard case .failed(let failure) = Self.outcome(pull, age: 301) else { throw NotFailed() }
        #expect(failure.message == "the builder's image can't be pulled: Back-off pulling image")
        let room = Self.pod(conditions: [
            ["type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient memory."]
        ])
        #expect(Self.outcome(room, age: 599) == .running)
        guard case .failed(let second) = Self.outcome(room, age: 601) else { throw NotFailed() }
        #expect(second.id == .insufficientResources && second.message.contains("3 Insufficient memory"))
    }

    private struct NotFailed: Error {}

    @Test("a pod that its node took with it is lost, not failed, whatever its containers say")
    func lost() {
        for pod in [
            Self.pod("Failed", reason: "NodeLost"), Self.pod("Failed", reason: "Terminated", build: Self.ended(137)),
            Self.pod(
                "Failed", build: Self.ended(143),
                conditions: [["type": "DisruptionTarget", "status": "True", "message": "Taint manager: deleting"]]),
        ] {
            guard case .lost = Self.outcome(pod) else {
                Issue.record("\(Self.outcome(pod))")
                continue
            }
        }
    }
}
