import JSON
import OCI
import Testing

@testable import ClusterAgent

@Suite("Pinning at admission")
struct PodPinningTests {
    private struct Away: Error {}

    private static let digest = "sha256:" + String(repeating: "a", count: 64)
    private static let pinning = PodPinning(registry: RegistryNames(["r.example"]), mayGate: true)

    private static func resolve(_ image: AppImage) async throws -> ResolvedImage? {
        switch image.guid {
        case "gone": nil
        case "away": throw Away()
        default:
            ResolvedImage(
                digest: try Digest(parsing: digest), droplet: "\(image.guid)/\(image.tag ?? "")", rootfs: "fs/2")
        }
    }

    private static func pod(_ images: [String], annotations: JSONValue? = nil, spec: JSONObject = [:]) -> JSONValue {
        var spec = spec
        spec["containers"] = .array(
            images.enumerated().map { ["name": .string("c\($0.offset)"), "image": .string($0.element)] })
        var metadata: JSONObject = ["name": "p"]
        metadata["annotations"] = annotations
        return ["metadata": .object(metadata), "spec": .object(spec)]
    }

    /// Applies what a patch of these tests may have.
    private static func apply(_ patch: [JSONValue], to value: JSONValue) throws -> JSONValue {
        func set(_ value: JSONValue?, _ path: ArraySlice<String>, _ new: JSONValue) throws -> JSONValue {
            guard let step = path.first else { return new }
            if var list = value?.array {
                if step == "-" { return .array(list + [new]) }
                let index = try #require(Int(step))
                list[index] = try set(list[index], path.dropFirst(), new)
                return .array(list)
            }
            var object = try #require(value?.object, "no parent of \(step)")
            object[step] = try set(object[step], path.dropFirst(), new)
            return .object(object)
        }
        return try patch.reduce(value) { value, operation in
            let path = try #require(operation["path"]?.string).split(separator: "/").map {
                String($0).replacing("~1", with: "/").replacing("~0", with: "~")
            }
            return try set(value, path[...], try #require(operation["value"]))
        }
    }

    private static func pinned(_ pod: JSONValue) async throws -> (pod: JSONValue, warnings: [String]) {
        let change = await pinning.change(of: pod, resolve)
        return (try apply(change.patch, to: pod), change.warnings)
    }

    @Test("tags of this registry's images become digests, and annotations say what they were")
    func pins() async throws {
        let pod = Self.pod(
            ["r.example/cloudfoundry/app:x", "busybox:1", "r.example/cloudfoundry/side:y"], annotations: ["a": "b"])
        let (pinned, warnings) = try await Self.pinned(pod)
        let images = try #require(pinned["spec"]?["containers"]?.array).map { $0["image"]?.string ?? "" }
        #expect(
            images == [
                "r.example/cloudfoundry/app:x@\(Self.digest)", "busybox:1",
                "r.example/cloudfoundry/side:y@\(Self.digest)",
            ])
        #expect(
            pinned["metadata"]?["annotations"] == [
                "a": "b", "cistern.cloudfoundry.org/droplet": "app/x", "cistern.cloudfoundry.org/rootfs": "fs/2",
                "cistern.cloudfoundry.org/pinned-from":
                    #"{"c0":"r.example/cloudfoundry/app:x","c2":"r.example/cloudfoundry/side:y"}"#,
            ])
        #expect(warnings == [])
        let again = await Self.pinning.change(of: pinned, Self.resolve)
        #expect(again == PodPinning.Change(), "it is idempotent")
    }

    @Test("init containers are pinned too, in a pod without annotations")
    func initContainers() async throws {
        let pod = Self.pod(
            ["busybox"], spec: ["initContainers": [["name": "i", "image": "r.example/cloudfoundry/app:x"]]])
        let (pinned, _) = try await Self.pinned(pod)
        #expect(
            pinned["spec"]?["initContainers"]?.array?.first?["image"]?.string
                == "r.example/cloudfoundry/app:x@\(Self.digest)")
        #expect(pinned["metadata"]?["annotations"]?[Contract.droplet] == nil, "the app is another container")
    }

    @Test(
        "nothing else is touched",
        arguments: [
            "busybox", "r.example/team/app:1", "r.example/cloudfoundry/app@sha256:\(String(repeating: "b", count: 64))",
            "other.example/cloudfoundry/app:1",
        ])
    func others(image: String) async {
        #expect(await Self.pinning.change(of: Self.pod([image]), Self.resolve) == PodPinning.Change())
    }

    @Test("an image that is gone, or a registry that is away, leaves the pod as it is, and says so")
    func away() async throws {
        let pod = Self.pod(["r.example/cloudfoundry/gone:x", "r.example/cloudfoundry/away:x"])
        let change = await Self.pinning.change(of: pod, Self.resolve)
        #expect(change.patch == [] && change.warnings.count == 2)
        #expect(change.warnings[0].contains("no such image") && change.warnings[1].contains("could not be asked"))
    }

    @Test("a readiness gate comes to those alone who asked for it, once, and while somebody is there to set it")
    func gates() async throws {
        let asked: JSONValue = ["cistern.cloudfoundry.org/in-place": "true"]
        let (gated, _) = try await Self.pinned(Self.pod(["busybox"], annotations: asked))
        #expect(gated["spec"]?["readinessGates"] == [["conditionType": "cistern.cloudfoundry.org/in-service"]])
        #expect(await Self.pinning.change(of: gated, Self.resolve).patch == [])
        let own: JSONValue = ["conditionType": "own"]
        let (second, _) = try await Self.pinned(
            Self.pod(["busybox"], annotations: asked, spec: ["readinessGates": [own]]))
        #expect(second["spec"]?["readinessGates"]?.array?.count == 2)
        let notAsked: JSONValue = ["cistern.cloudfoundry.org/in-place": "no"]
        let none: JSONValue = [:]
        let nobodyThere = PodPinning(registry: Self.pinning.registry, mayGate: false)
        for (pinning, annotations) in [(nobodyThere, asked), (Self.pinning, notAsked), (Self.pinning, none)] {
            let change = await pinning.change(of: Self.pod(["busybox"], annotations: annotations), Self.resolve)
            #expect(change.patch == [])
        }
    }

    @Test("reviews are answered for the request that they came with, and what is no review of a new pod is none")
    func reviews() throws {
        let request: JSONObject = [
            "uid": "u-1", "operation": "CREATE", "kind": ["group": "", "version": "v1", "kind": "Pod"],
            "object": Self.pod(["busybox"]),
        ]
        func review(_ changes: JSONObject) -> AdmissionReview? {
            var request = request
            for (key, value) in changes { request[key] = value }
            return AdmissionReview([
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": .object(request),
            ])
        }
        let good = try #require(review([:]))
        let answer = good.answer(
            PodPinning.Change(patch: [["op": "x"]], warnings: [String(repeating: "w", count: 999)]))
        #expect(answer["response"]?["uid"] == "u-1" && answer["response"]?["allowed"] == true)
        #expect(answer["response"]?["patchType"] == "JSONPatch")
        let patch = try #require(answer["response"]?["patch"]?.string.flatMap { Base64.decode(Substring($0)) })
        #expect(String(decoding: patch, as: UTF8.self) == #"[{"op":"x"}]"#)
        #expect(try #require(answer["response"]?["warnings"]?.array?.first?.string).utf8.count <= 256)
        #expect(good.answer(PodPinning.Change())["response"] == ["uid": "u-1", "allowed": true])
        for changes: JSONObject in [
            ["operation": "UPDATE"], ["uid": ""], ["kind": ["kind": "Pod", "group": "x"]], ["object": .null],
            ["kind": ["kind": "ConfigMap"]],
        ] { #expect(review(changes) == nil, "\(changes)") }
        #expect(AdmissionReview([:]) == nil)
    }
}
