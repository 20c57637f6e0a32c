import Foundation
import TestSupport
import Testing

extension ServerTests {
    @Suite("Signed URLs", .serialized, .sideBySide)
    struct SignedURLTests {
        @Test("Whoever has one does that one thing without a password, until its key is taken out; no log has it")
        func live() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("signed")
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    func sign(_ path: String, _ verb: String) async throws -> String {
                        let answer = try await world.client.send("GET", "/sign\(path)?verb=\(verb)", as: "operator")
                        #expect(answer.status == 200)
                        let url = try #require(URLComponents(string: answer.text))
                        #expect(url.scheme == "http" && url.host == "127.0.0.1")
                        return url.percentEncodedPath + "?" + (url.percentEncodedQuery ?? "")
                    }
                    let path = "/droplets/a/\(droplet.sha256)"
                    let put = try await sign(path, "put")
                    #expect(try await world.client.send("PUT", put, as: nil, body: droplet.bytes).status == 201)
                    let get = try await sign(path, "get")
                    let got = try await world.client.send("GET", get, as: nil)
                    #expect(got.status == 200 && got.body == droplet.bytes)
                    for (method, target) in [("DELETE", put), ("GET", put), ("PUT", get), ("GET", get + "&arch=arm64")]
                    {
                        let body: [UInt8]? = method == "PUT" ? droplet.bytes : nil
                        #expect(try await world.client.send(method, target, as: nil, body: body).status == 403)
                    }
                    let keys = data + "/secrets/url-signing.keys"
                    let text = try String(contentsOfFile: keys, encoding: .utf8)
                    let key = try #require(text.split(separator: "\n").last?.split(separator: " "))
                    let log = world.log
                    for secret in ["signature=", "AccessKeyId", String(key[0]), String(key[1])] {
                        #expect(!log.contains(secret), "the log has \(secret)")
                    }
                    try Data("new \(String(repeating: "n", count: 32))\n".utf8).write(to: URL(fileURLWithPath: keys))
                    let isRefused = try await eventually {
                        try await world.client.send("GET", get, as: nil).status == 403
                    }
                    #expect(isRefused)
                }
            }
        }
    }
}
