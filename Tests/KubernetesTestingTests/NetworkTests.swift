import AsyncHTTPClient
import Foundation
import JSON
import NIOCore
import NIOHTTP1
import NIOSSL
import Testing

@testable import KubernetesTesting

@Suite("The stand-in over TLS")
struct NetworkTests {
    private func client(_ authority: TestAuthority, certificate: TestAuthority.Identity? = nil) throws -> HTTPClient {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.pem.utf8)))
        if let certificate {
            tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.certificate.utf8)).map {
                .certificate($0)
            }
            tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(certificate.key.utf8), format: .pem))
        }
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: .init(tlsConfiguration: tls))
    }

    @Test("a client is who its certificate says, or nobody; a lost answer is a broken connection; a broken watch ends")
    func connections() async throws {
        try await StandInServer.run { server in
            let user = User("ann", groups: ["testers"])
            let known = try client(server.authority, certificate: server.authority.client(user))
            let unknown = try client(server.authority)
            let review = "\(server.url)/apis/authentication.k8s.io/v1/selfsubjectreviews"
            var request = HTTPClientRequest(url: review)
            request.method = .POST
            request.body = .bytes(ByteBuffer(string: "{}"))
            let answer = try await known.execute(request, timeout: .seconds(10))
            let body = try JSONValue(parsing: Array(try await answer.body.collect(upTo: 1 << 20).readableBytesView))
            #expect(body.at("status", "userInfo", "username") == "ann")
            #expect(body.at("status", "userInfo", "groups")?.array?.contains("testers") == true)
            #expect(try await unknown.execute(request, timeout: .seconds(10)).status.code == 401)

            await server.cluster.inject(FaultRule(verbs: ["list"], .loseAnswer))
            let maps = HTTPClientRequest(url: "\(server.url)/api/v1/configmaps")
            await #expect(throws: (any Error).self) { try await known.execute(maps, timeout: .seconds(10)) }
            let watch = try await known.execute(
                HTTPClientRequest(url: "\(server.url)/api/v1/namespaces?watch=true"), timeout: .seconds(10))
            var lines = 0
            for try await piece in watch.body {
                lines += piece.readableBytesView.count { $0 == 10 }
                if lines == 4 { await server.cluster.breakWatches() }
            }
            #expect(lines == 4)
            try await known.shutdown()
            try await unknown.shutdown()
        }
    }

    /// A webhook that sets a label, on a server with this certificate.
    private func hook(_ server: SecureServer, _ authority: TestAuthority, policy: String) -> JSONValue {
        [
            "metadata": ["name": "pin"],
            "webhooks": [
                [
                    "name": "pin.test", "failurePolicy": .string(policy), "timeoutSeconds": 1, "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "clientConfig": [
                        "url": .string(server.url + "/mutate"),
                        "caBundle": .string(Base64.encode(Array(authority.pem.utf8))),
                    ],
                    "rules": [
                        ["operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]]
                    ],
                    "matchConditions": [
                        [
                            "name": "ours",
                            "expression": "object.spec.containers.exists(c, c.image.startsWith('registry.test/'))",
                        ]
                    ],
                    "namespaceSelector": [
                        "matchExpressions": [
                            ["key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]]
                        ]
                    ],
                ]
            ],
        ]
    }

    private func answer(_ request: APIRequest) -> APIAnswer {
        let uid = (try? JSONValue(parsing: request.body))?.at("request", "uid")
        let patch: JSONValue = [["op": "replace", "path": "/spec/containers/0/image", "value": "pinned"]]
        return APIAnswer([
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "response": [
                "uid": uid ?? "", "allowed": true, "patchType": "JSONPatch",
                "patch": .string(Base64.encode(patch.canonicalBytes)),
            ],
        ])
    }

    private static let hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"

    @Test("a webhook changes the pods that its conditions are for")
    func webhook() async throws {
        let authority = try TestAuthority()
        let server = try await SecureServer.start(authority.server()) { answer($0) }
        let cluster = StandInCluster()
        let client = await Client(cluster)
        _ = await client.post(Self.hooks, hook(server, authority, policy: "Fail"))
        let made = await client.post(podsPath, pod("p"))
        #expect(made.json.at("spec", "containers")?.array?.first?["image"] == "pinned")
        let other = await client.post(
            podsPath, pod("other") { $0.set([["name": "c", "image": "elsewhere/x"]], "spec", "containers") })
        #expect(other.json.at("spec", "containers")?.array?.first?["image"] == "elsewhere/x")
        _ = await client.post("/api/v1/namespaces/kube-system/pods", pod("system"))
        #expect(await cluster.calls.count == 1)
        await cluster.webhooks.shutdown()
        try await server.stop()
    }

    @Test("a webhook whose certificate expired stops pods only if its policy is Fail", arguments: ["Ignore", "Fail"])
    func expired(_ policy: String) async throws {
        let authority = try TestAuthority()
        let server = try await SecureServer.start(authority.server(expires: Date() - 60)) { answer($0) }
        let cluster = StandInCluster()
        let client = await Client(cluster)
        _ = await client.post(Self.hooks, hook(server, authority, policy: policy))
        let made = await client.post(podsPath, pod("p"))
        #expect(made.code == (policy == "Fail" ? 500 : 201))
        #expect(await cluster.calls.first?.failure != nil)
        await cluster.webhooks.shutdown()
        try await server.stop()
    }

    @Test("a kubelet pulls with its pull secret, takes its platform's child of an index, and reports why it can't")
    func pull() async throws {
        let config = JSONValue.object(["os": "linux"]).canonicalBytes
        let digest = TestAuthority.digest
        let manifest = JSONValue.object(["config": ["digest": .string(digest(config))]]).canonicalBytes
        let index = JSONValue.object([
            "manifests": [
                ["digest": "sha256:0", "platform": ["os": "linux", "architecture": "arm64"]],
                ["digest": .string(digest(manifest)), "platform": ["os": "linux", "architecture": "amd64"]],
            ]
        ]).canonicalBytes
        let authority = try TestAuthority()
        let registry = try await SecureServer.start(authority.server()) { request in
            guard request.headers["authorization"] == "Basic \(Base64.encode(Array("u:p".utf8)))" else {
                return APIAnswer(code: 401, body: .bytes([]))
            }
            let known = [
                "/v2/app/manifests/1": index, "/v2/app/manifests/\(digest(manifest))": manifest,
                "/v2/app/blobs/\(digest(config))": config,
            ]
            return known[request.path].map { APIAnswer(body: .bytes($0)) } ?? APIAnswer(code: 404, body: .bytes([]))
        }
        let puller = try RegistryPuller(authority: authority.pem)
        let cluster = StandInCluster()
        let client = await Client(cluster)
        await cluster.pull { await puller.pull($0) }
        let auths: JSONValue = [
            "auths": [("127.0.0.1:\(registry.port)"): ["auth": .string(Base64.encode(Array("u:p".utf8)))]]
        ]
        _ = await client.post(
            "/api/v1/namespaces/default/secrets",
            [
                "metadata": ["name": "pull"], "type": "kubernetes.io/dockerconfigjson",
                "stringData": [".dockerconfigjson": .string(auths.canonicalText)],
            ])
        for (name, hasSecret) in [("with", true), ("without", false)] {
            _ = await client.post(
                podsPath,
                pod(name) { pod in
                    pod.set(
                        [
                            [
                                "name": "c", "image": .string("127.0.0.1:\(registry.port)/app:1"),
                                "imagePullPolicy": "Always",
                            ]
                        ], "spec", "containers")
                    if hasSecret { pod.set([["name": "pull"]], "spec", "imagePullSecrets") }
                })
            await cluster.settle()
        }
        let pods = await cluster.objects(.pods)
        let id = pods.first?.at("status", "containerStatuses")?.array?.first?["imageID"]?.string
        #expect(id == "127.0.0.1:\(registry.port)/app@\(digest(index))")
        let refused = pods.last?.at("status", "containerStatuses")?.array?.first?.at("state", "waiting")
        #expect(refused?["reason"] == "ErrImagePull")
        #expect(refused?["message"]?.string?.contains("401") == true)
        try await puller.shutdown()
        try await registry.stop()
    }
}
