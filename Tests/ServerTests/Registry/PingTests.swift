import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("/v2/ itself", .serialized, .emptyServer)
    struct PingTests {
        @Test(
            "Without credentials it answers 401 and says how to log in",
            arguments: ["/v2/", "/v2", "/v2/a/manifests/b"])
        func anonymous(path: String) async throws {
            for method in ["GET", "HEAD"] {
                let answer = try await SharedServer.world().client.send(method, path, as: nil)
                #expect(answer.status == 401)
                #expect(
                    answer["WWW-Authenticate"]?.hasPrefix(#"Bearer realm=""#) == true,
                    "clients send no credentials else, and take what is named first")
                #expect(answer["Docker-Distribution-Api-Version"] == "registry/2.0")
                #expect(answer["Content-Type"] == "application/json")
                if method == "GET" { #expect(answer.registryCode == "UNAUTHORIZED") }
            }
        }

        @Test(
            "Wrong passwords and broken credentials answer 401 too",
            arguments: [
                "Basic cHVsbDp3cm9uZw==", "Basic bm9ib2R5OndvcmQ=", "Basic", "Basic !!!", "Basic cHVsbA==", "Bearer x",
                "",
            ])
        func wrong(credentials: String) async throws {
            let answer = try await SharedServer.world().client.get("/v2/", as: nil, ["Authorization": credentials])
            #expect(answer.status == 401 && answer.registryCode == "UNAUTHORIZED")
            #expect(answer["WWW-Authenticate"] != nil)
        }

        @Test("With credentials it answers 200 and an empty document")
        func known() async throws {
            let client = try SharedServer.world().client
            for path in ["/v2/", "/v2"] {
                let answer = try await client.get(path)
                #expect(answer.status == 200 && answer.text == "{}")
                #expect(answer["Docker-Distribution-Api-Version"] == "registry/2.0")
                let head = try await client.head(path)
                #expect(head.status == 200 && head["Content-Length"] == "2")
            }
        }

        @Test("Over TLS it is the same")
        func secure() async throws {
            let server = try SharedServer.world().server
            let anonymous = try await server.request("GET", "/v2/", as: nil)
            #expect(anonymous.status == 401 && anonymous.header("WWW-Authenticate")?.hasPrefix("Bearer ") == true)
            #expect(try await server.request("GET", "/v2/", as: .pull).status == 200)
        }

        @Test(
            "Every answer, refusals too, names the version of the API",
            arguments: [
                ("GET", "/v2/"), ("GET", "/v2/nothing"), ("GET", "/v2/a/manifests/b"), ("GET", "/v2/A/manifests/b"),
                ("DELETE", "/v2/a/manifests/b"), ("POST", "/v2/a/blobs/uploads/"),
            ])
        func version(method: String, path: String) async throws {
            let answer = try await SharedServer.world().client.send(method, path)
            #expect(answer["Docker-Distribution-Api-Version"] == "registry/2.0")
        }

        @Test("A request id that came along comes back, otherwise there is a new one")
        func requestID() async throws {
            let client = try SharedServer.world().client
            let own = try await client.get("/v2/", ["X-VCAP-REQUEST-ID": "my-request-1"])
            #expect(own["X-Vcap-Request-Id"] == "my-request-1" && own["X-Request-Id"] == "my-request-1")
            let first = try await client.get("/v2/")["X-Request-Id"]
            let second = try await client.get("/v2/")["X-Request-Id"]
            #expect(first != nil && first != second)
        }
    }

    @Suite("Health", .serialized, .emptyServer)
    struct HealthTests {
        @Test(
            "/healthz and /readyz answer everybody and tell nothing more than that", arguments: ["/healthz", "/readyz"])
        func open(path: String) async throws {
            let answer = try await SharedServer.world().client.get(path, as: nil)
            #expect(answer.status == 200)
            #expect(answer.body.count < 200)
        }

        @Test(
            "Every other path asks who is there",
            arguments: [
                "/", "/v2/", "/droplets/a/b", "/api/v1/rootfs", "/metrics", "/ui", "/secrets/operator.password",
                "/healthz/x",
                "//healthz", "/%68ealthz", "/healthz/../secrets",
            ])
        func closed(path: String) async throws {
            for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
                let answer = try await SharedServer.world().client.send(method, path, as: nil)
                #expect(answer.status == 401, "\(method) \(path): \(answer.text)")
            }
        }
    }
}
