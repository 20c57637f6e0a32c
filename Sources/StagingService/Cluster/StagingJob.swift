package import JSON
import OCI

/// A staging task as objects of a Kubernetes cluster: a Job with the three steps, and a Secret for each step that has
/// any.
///
/// The Job is created suspended. Then come its Secrets, which name it as their owner and so go with it, and only then is
/// it let run: a pod never waits for a Secret that is not there, and no Secret is ever without an owner.
///
/// Of the pod's security nothing is left to defaults: it runs in a namespace that enforces the Pod Security Standard
/// `restricted`, and the steps get no service account, no capability and a root file system that they can't write.
package struct StagingJob: Sendable {
    /// What stands before the names of this project's labels, annotations and finalizers.
    package static let prefix = "cistern.cloudfoundry.org/"
    /// Keeps a Job until its outcome is stored.
    package static let finalizer = prefix + "staging"
    /// For how long the agent of a cluster waits for the registry to take its finalizer off a Job that is being
    /// deleted, in seconds; then it takes it off itself.
    package static let patience: Int64 = 3600

    package struct Limits: Sendable {
        /// Of the build, in bytes.
        package var memory: Int64
        /// Of everything that a task writes, in bytes.
        package var disk: Int64
        /// Of download and upload, in bytes.
        package var transferMemory: Int64 = 256 << 20
        /// What the pod is scheduled by, in thousandths of a processor.
        package var processors: Int64 = 500
        /// How long the pod may live, in seconds.
        package var time: Int64

        package init(memory: Int64, disk: Int64, time: Int64) {
            (self.memory, self.disk, self.time) = (memory, disk, time)
        }
    }

    package let guid: String
    package let space: String
    package let namespace: String
    /// The builder's image, by digest.
    package let image: String
    package let limits: Limits
    /// The variables of `stage-download` and of `stage-upload`, whose secrets no other step sees.
    package let download: JSONValue
    package let upload: JSONValue
    /// `[{"name","value"}]`, what buildpacks see.
    package let environment: JSONValue
    /// What `stage-build` passes on to buildpacks if the environment has no other.
    package let platform: [(name: String, value: String)]
    /// Options of download and upload: where their URLs may lead.
    package let transferOptions: [String]
    /// The certificate authorities that download and upload trust besides the rootfs' own, in PEM.
    package let authorities: String
    package let pullSecrets: [String]

    package init(
        guid: String, space: String, namespace: String, image: String, limits: Limits, download: JSONValue,
        upload: JSONValue, environment: JSONValue, platform: [(name: String, value: String)],
        transferOptions: [String], authorities: String, pullSecrets: [String]
    ) {
        (self.guid, self.space, self.namespace, self.image) = (guid, space, namespace, image)
        (self.limits, self.download, self.upload, self.environment) = (limits, download, upload, environment)
        (self.platform, self.transferOptions, self.authorities) = (platform, transferOptions, authorities)
        self.pullSecrets = pullSecrets
    }

    /// The same for the same task: creating it twice makes one Job. A guid may have letters that a name can't, so the
    /// name is a digest of it; an annotation has the guid.
    package var name: String { "staging-" + Digest.of(guid.utf8).hex.prefix(20) }

    /// What tells the objects of a task, and of staging as a whole, from others.
    package var labels: JSONObject {
        [
            "app.kubernetes.io/part-of": "cistern", "app.kubernetes.io/component": "staging",
            Self.prefix + "staging": .string(name),
            // Network policies let builds reach what their space may.
            Self.prefix + "space": .string(Self.labelValue(space)),
        ]
    }

    /// A text as a label's value (Kubernetes, "Labels and Selectors"): a digest of one that can't be a value.
    static func labelValue(_ text: String) -> String {
        let isEnd = { (byte: UInt8) in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        let fits =
            text.utf8.count <= 63
            && text.utf8.allSatisfy { isEnd($0) || "-_.".utf8.contains($0) }
            && text.utf8.first.map(isEnd) ?? true && text.utf8.last.map(isEnd) ?? true
        return fits ? text : String(Digest.of(text.utf8).hex.prefix(32))
    }
}

// MARK: - Secrets

extension StagingJob {
    private enum Part: String, CaseIterable {
        case download, environment, upload
    }

    private func secretName(_ part: Part) -> String { "\(name)-\(part.rawValue)" }

    /// The Secrets of the task.
    /// - Parameter uid: the Job's, as the API server gave it.
    package func secrets(ownedBy uid: String) -> [JSONValue] {
        Part.allCases.map { part in
            var data: JSONObject =
                switch part {
                case .download: ["task.json": .string(download.canonicalText)]
                case .environment: ["environment.json": .string(environment.canonicalText)]
                case .upload: ["task.json": .string(upload.canonicalText)]
                }
            if part != .environment, !authorities.isEmpty { data["authorities.pem"] = .string(authorities) }
            return [
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
                "metadata": [
                    "name": .string(secretName(part)), "namespace": .string(namespace), "labels": .object(labels),
                    "ownerReferences": [
                        [
                            "apiVersion": "batch/v1", "kind": "Job", "name": .string(name), "uid": .string(uid),
                            "controller": true, "blockOwnerDeletion": false,
                        ]
                    ],
                ],
                "stringData": .object(data),
            ]
        }
    }
}

// MARK: - The Job

extension StagingJob {
    /// The Job, suspended.
    package var job: JSONValue {
        [
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": [
                "name": .string(name), "namespace": .string(namespace), "labels": .object(labels),
                "annotations": [Self.prefix + "staging-guid": .string(guid)], "finalizers": [.string(Self.finalizer)],
            ],
            "spec": [
                "suspend": true, "completions": 1, "parallelism": 1,
                // The pod's own end says how it went. A pod that a node took with it is made anew by whoever runs the
                // task, who knows whether it still has the time.
                "backoffLimit": 0,
                "template": ["metadata": ["labels": .object(labels)], "spec": pod],
            ],
        ]
    }

    private var pod: JSONValue {
        [
            "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
            // A Job's own deadline deletes the pod, and with it exit codes and logs.
            "activeDeadlineSeconds": .integer(limits.time), "terminationGracePeriodSeconds": 10,
            "securityContext": [
                "runAsNonRoot": true, "runAsUser": 2000, "runAsGroup": 2000, "fsGroup": 2000,
                "seccompProfile": ["type": "RuntimeDefault"],
            ],
            "imagePullSecrets": .array(pullSecrets.map { ["name": .string($0)] }),
            "initContainers": [downloadStep, buildStep], "containers": [uploadStep],
            "volumes": .array(volumes),
        ]
    }

    /// Where a container says why it ended (Kubernetes, "Customizing the termination message"), up to 4 KiB.
    private static let message = "/dev/termination-log"

    private static let files: [(volume: String, path: String)] = [
        ("buildpacks", "/var/lib/buildpacks"), ("workspace", "/recipe_workspace"), ("output", "/out"),
    ]

    private var volumes: [JSONValue] {
        let directories = Self.files.map(\.volume) + ["download", "build", "upload"].map { "\($0)-tmp" }
        return directories.map { name in
            // The sizes are bounds for each; the pod's own limit is for all of them together.
            ["name": .string(name), "emptyDir": ["sizeLimit": .string("\(limits.disk)")]]
        }
            + Part.allCases.map { part in
                [
                    "name": .string("\(part.rawValue)-secret"),
                    // Readable by the group, which is the pod's.
                    "secret": ["secretName": .string(secretName(part)), "defaultMode": 0o440],
                ]
            }
    }

    private var downloadStep: JSONValue {
        step(
            "download", memory: limits.transferMemory,
            StepPrograms.command("stage-download") + ["--task", "/run/task/task.json"] + transferOptions
                + authorityOptions,
            mounts: [mount("buildpacks"), mount("workspace"), secret(.download)])
    }

    private var buildStep: JSONValue {
        step(
            "build", memory: limits.memory,
            StepPrograms.command("stage-build")
                + ["--environment", "/run/task/environment.json", "--message", Self.message],
            environment: platform,
            mounts: [
                mount("buildpacks", readOnly: true), mount("workspace", readOnly: true), mount("output"),
                secret(.environment),
            ])
    }

    private var uploadStep: JSONValue {
        step(
            "upload", memory: limits.transferMemory,
            StepPrograms.command("stage-upload") + ["--task", "/run/task/task.json"] + transferOptions
                + authorityOptions,
            mounts: [mount("buildpacks", readOnly: true), mount("output", readOnly: true), secret(.upload)])
    }

    private var authorityOptions: [String] { authorities.isEmpty ? [] : ["--ca", "/run/task/authorities.pem"] }

    private func mount(_ volume: String, readOnly: Bool = false) -> JSONValue {
        let path = Self.files.first { $0.volume == volume }?.path ?? ""
        return ["name": .string(volume), "mountPath": .string(path), "readOnly": .bool(readOnly)]
    }

    private func secret(_ part: Part) -> JSONValue {
        ["name": .string("\(part.rawValue)-secret"), "mountPath": "/run/task", "readOnly": true]
    }

    private func step(
        _ name: String, memory: Int64, _ command: [String], environment: [(name: String, value: String)] = [],
        mounts: [JSONValue]
    ) -> JSONValue {
        let variables = [("TMPDIR", "/tmp"), ("HOME", "/tmp")] + environment
        return [
            "name": .string(name), "image": .string(image), "imagePullPolicy": "IfNotPresent",
            "command": .array(command.map { .string($0) }),
            "env": .array(variables.map { ["name": .string($0.0), "value": .string($0.1)] }),
            "resources": [
                "requests": [
                    "cpu": .string("\(limits.processors)m"), "memory": .string("\(memory)"),
                    "ephemeral-storage": .string("\(limits.disk)"),
                ],
                "limits": ["memory": .string("\(memory)"), "ephemeral-storage": .string("\(limits.disk)")],
            ],
            "securityContext": [
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "privileged": false,
                "capabilities": ["drop": ["ALL"]],
            ],
            "terminationMessagePath": .string(Self.message), "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": .array(mounts + [["name": .string("\(name)-tmp"), "mountPath": "/tmp"]]),
        ]
    }
}
