import JSON
import OCI
import Testing

@testable import ClusterAgent

@Suite("What a cluster's objects pin")
struct PinsTests {
    private static let registry = RegistryNames(["registry.example:8443", "mirror.example"])
    private static let hex = String(repeating: "a", count: 64)
    private static let other = String(repeating: "b", count: 64)

    private static func pins(_ object: JSONValue) -> (digests: [String], tags: [String]) {
        let pins = Pins(of: object, in: registry)
        return (pins.digests.map(\.description).sorted(), pins.tags.sorted())
    }

    @Test(
        "references are read as clients read them",
        arguments: [
            ("registry.example:8443/cloudfoundry/app:\(hex)-1", AppImage(guid: "app", tag: "\(hex)-1", digest: nil)),
            (
                "REGISTRY.example:8443/cloudfoundry/app@sha256:\(other)",
                AppImage(guid: "app", tag: nil, digest: try? Digest(parsing: "sha256:\(other)"))
            ),
            (
                "mirror.example/cloudfoundry/app:r-7-1@sha256:\(hex)",
                AppImage(guid: "app", tag: "r-7-1", digest: try? Digest(parsing: "sha256:\(hex)"))
            ),
            ("mirror.example/cloudfoundry/app", AppImage(guid: "app", tag: "latest", digest: nil)),
            ("registry.example/cloudfoundry/app:1", nil), ("cloudfoundry/app:1", nil), ("busybox", nil),
            ("mirror.example/cloudfoundry/a/b:1", nil), ("mirror.example/cistern/cisternfs:1", nil),
            ("mirror.example/cloudfoundry/app@sha256:12", nil), ("mirror.example/cloudfoundry/App:1", nil),
            ("mirror.example/cloudfoundry/app:", nil), ("", nil),
        ] as [(String, AppImage?)])
    func references(text: String, image: AppImage?) { #expect(Self.registry.appImage(text) == image) }

    @Test(
        "what runs is read in each container runtime's own form",
        arguments: [
            ("registry.example:8443/cloudfoundry/app@sha256:\(hex)", "manifest"), ("sha256:\(hex)", "either"),
            ("other.example/x/y@sha256:\(hex)", "manifest"), (hex, "config"),
            ("docker-pullable://registry.example/a/b@sha256:\(hex)", "manifest"), ("docker://sha256:\(hex)", "config"),
            ("", "none"), ("sha256:12", "none"), ("podman:x", "none"), (String(repeating: "g", count: 64), "none"),
        ])
    func running(imageID: String, form: String) throws {
        let digest = try Digest(parsing: "sha256:\(Self.hex)")
        let expected: [String: RunningImage] = [
            "manifest": .manifest(digest), "config": .config(digest), "either": .either(digest),
        ]
        #expect(RunningImage(imageID: imageID) == expected[form])
    }

    private static func spec(_ image: String) -> JSONValue {
        ["containers": [["name": "app", "image": .string(image)], ["name": "side", "image": "busybox"]]]
    }

    @Test("a pod pins what its spec names and what it really runs, of this registry's images alone")
    func pod() {
        var pod: JSONValue = [
            "kind": "Pod", "spec": Self.spec("mirror.example/cloudfoundry/app:x"),
            "status": [
                "containerStatuses": [
                    ["name": "app", "imageID": .string("mirror.example/cloudfoundry/app@sha256:\(Self.hex)")],
                    ["name": "side", "imageID": .string("busybox@sha256:\(Self.other)")],
                ]
            ],
        ]
        #expect(Self.pins(pod) == (["sha256:\(Self.hex)"], ["app:x"]))
        #expect(Pins.isUnpinned(pod: pod, in: Self.registry))
        pod = ["kind": "Pod", "spec": Self.spec("mirror.example/cloudfoundry/app:x@sha256:\(Self.hex)")]
        #expect(Self.pins(pod) == (["sha256:\(Self.hex)"], []) && !Pins.isUnpinned(pod: pod, in: Self.registry))
        pod = ["kind": "Pod", "spec": Self.spec("busybox")]
        #expect(Self.pins(pod) == ([], []) && !Pins.isUnpinned(pod: pod, in: Self.registry))
        pod = [
            "kind": "Pod",
            "spec": [
                "initContainers": [["image": "mirror.example/cloudfoundry/a:1"]],
                "ephemeralContainers": [["image": "mirror.example/cloudfoundry/b:1"]],
                "volumes": [["image": ["reference": "mirror.example/cloudfoundry/c:1"]], ["emptyDir": [:]]],
            ],
        ]
        #expect(Self.pins(pod) == ([], ["a:1", "b:1", "c:1"]))
    }

    @Test("what could start again counts: templates of stopped apps, and what a rollback goes back to")
    func templates() {
        let template: JSONValue = [
            "spec": ["replicas": 0, "template": ["spec": Self.spec("mirror.example/cloudfoundry/app:x")]]
        ]
        for kind in ["StatefulSet", "Deployment", "DaemonSet", "ReplicaSet", "Job", "Service"] {
            var object = template.object ?? [:]
            object["kind"] = .string(kind)
            #expect(Self.pins(.object(object)) == ([], ["app:x"]), "\(kind)")
        }
        #expect(Self.pins(["kind": "CronJob", "spec": ["jobTemplate": template]]) == ([], ["app:x"]))
        #expect(Self.pins(["kind": "ControllerRevision", "data": template]) == ([], ["app:x"]))
        let revision: JSONValue = [
            "kind": "Revision", "spec": Self.spec("mirror.example/cloudfoundry/app:x"),
            "status": [
                "containerStatuses": [["imageDigest": .string("mirror.example/cloudfoundry/app@sha256:\(Self.hex)")]]
            ],
        ]
        #expect(Self.pins(revision) == (["sha256:\(Self.hex)"], ["app:x"]))
        #expect(Self.pins(["kind": "ConfigMap", "data": ["image": "mirror.example/cloudfoundry/app:x"]]) == ([], []))
        #expect(Self.pins(["kind": "Service", "spec": ["selector": ["app": "x"]]]) == ([], []))
    }

    @Test("odd objects pin nothing, and nothing breaks")
    func odd() {
        for object: JSONValue in [
            .null, [], "Pod", ["kind": 1], ["kind": "Pod"], ["kind": "Pod", "spec": []],
            ["kind": "Pod", "spec": ["containers": ["x", 1, .null, [:]]]],
            ["kind": "StatefulSet", "spec": ["template": "x"]], ["kind": "ControllerRevision", "data": "eA=="],
        ] { #expect(Self.pins(object) == ([], [])) }
    }
}
