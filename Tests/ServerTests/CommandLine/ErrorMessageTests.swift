import Foundation
import TestSupport
import Testing

extension ServerTests {
    /// Whole messages: each names the thing, what is wrong with it, and what to do.
    @Suite("What is said to whom errs", .serialized, .sideBySide)
    struct ErrorMessageTests {
        private static func serve(_ arguments: String..., data: String) async throws -> CommandResult {
            try await run("cistern", ["serve", "--data", data] + arguments, timeout: .seconds(60))
        }

        @Test(
            "An address that can't be one",
            arguments: [
                (
                    "8443",
                    "it has no host: write :8443 for every address of this machine, 127.0.0.1:8443 for loopback alone"
                ),
                ("localhost", "it has no port: write HOST:PORT, for example 127.0.0.1:8443"),
                ("::1:8443", "an IPv6 address stands in brackets: write it as in [::1]:8443"),
                ("localhost:https", "'https' is no port: ports are numbers from 0 to 65535"),
                ("127.0.0.1:70000", "'70000' is no port: ports are numbers from 0 to 65535"),
                ("https://127.0.0.1:8443", "it is a URL: write HOST:PORT alone, for example 127.0.0.1:8443"),
                ("[]:1", "write HOST:PORT, for example 127.0.0.1:8443 or [::1]:8443"),
            ])
        func addresses(text: String, reason: String) async throws {
            let result = try await Self.serve("--listen", text, data: "/nonexistent/data")
            #expect(
                result.errors == "Error: listen (--listen, CISTERN_LISTEN): '\(text)' is not an address: \(reason)")
        }

        @Test("Without a host it is every address of the machine", arguments: [":", "*:", "[::]:"])
        func everyAddress(prefix: String) async throws {
            try await withServer(arguments: ["--listen", "\(prefix)0"]) { server in
                let addresses = try String(contentsOfFile: server.directory + "/address", encoding: .utf8)
                let port = try #require(addresses.split(whereSeparator: \.isNewline).last?.split(separator: ":").last)
                #expect("127.0.0.1:\(port)" != server.address)
                for host in ["127.0.0.1", "[::1]"] {
                    let answer = try await run("curl", ["--silent", "--insecure", "https://\(host):\(port)/healthz"])
                    #expect(answer.status == 0, "\(host) of \(addresses)")
                }
            }
        }

        @Test("An address that can't be listened on")
        func binding() async throws {
            let other = try await run("ip", ["-brief", "address"]).output
            try #require(!other.contains("192.0.2.1"))
            try await withServer { server in
                for (address, reason) in [
                    (server.address, "something listens there already: end it, or choose another port"),
                    (
                        "192.0.2.1:8443",
                        "this machine has no such address: write one that it has, or 0.0.0.0 for all of them"
                    ),
                    ("nowhere.invalid:8443", "there is no host 'nowhere.invalid': write an address of this machine"),
                ] {
                    let result = try await Self.serve("--listen", address, data: server.directory + "2")
                    #expect(result.status == 1)
                    #expect(
                        result.errors.split(separator: "\n").last == "Error: can't listen on \(address): \(reason)")
                }
            }
        }

        @Test("A certificate and a key that can't be used")
        func certificates() async throws {
            try await withTemporaryDirectory { directory in
                let script = """
                    for name in one two; do
                        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name \
                        -keyout $name.key -out $name.pem 2>/dev/null
                    done
                    openssl pkey -in one.key -aes256 -passout pass:secret -out encrypted.key
                    openssl x509 -in one.pem -outform der -out one.der
                    echo nonsense >nonsense
                    printf -- '-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n' >broken.pem
                    printf -- '-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n' >broken.key
                    """
                try await runSuccessfully("bash", ["-euc", script], directory: directory)
                let label = "-----BEGIN CERTIFICATE-----"
                for (certificate, key, reason) in [
                    ("missing.pem", "one.key", "D/missing.pem: No such file or directory"),
                    ("one.pem", "missing.key", "D/missing.key: No such file or directory"),
                    ("nonsense", "one.key", "D/nonsense has no certificate: it is to be PEM, with \(label)"),
                    ("one.key", "one.key", "D/one.key has no certificate: it is to be PEM, with \(label)"),
                    ("one.der", "one.key", "D/one.der: it is not UTF-8"),
                    ("broken.pem", "one.key", "D/broken.pem has a certificate that can't be read"),
                    (
                        "one.pem", "one.pem",
                        "D/one.pem has no private key: it is to be PEM, with -----BEGIN PRIVATE KEY-----"
                    ),
                    ("one.pem", "broken.key", "D/broken.key has a private key that can't be read"),
                    ("one.pem", "two.key", "D/two.key is not the key of the certificate in D/one.pem"),
                    (
                        "one.pem", "encrypted.key",
                        "D/encrypted.key is encrypted, and nobody is there to type its password: take that off with "
                            + "`openssl pkey -in KEY -out PLAIN_KEY`"
                    ),
                ] {
                    let result = try await Self.serve(
                        "--listen", "127.0.0.1:0", "--tls-certificate", "\(directory)/\(certificate)", "--tls-key",
                        "\(directory)/\(key)", data: directory + "/data")
                    let said = result.errors.split(separator: "\n").last.map(String.init) ?? ""
                    #expect(said == "Error: TLS can't be set up: " + reason.replacing("D/", with: directory + "/"))
                }
            }
        }

        @Test("A certificate that has expired is served, and said: in the log, by /readyz")
        func expired() async throws {
            try await withTemporaryDirectory { directory in
                let (certificate, key) = (directory + "/old.pem", directory + "/old.key")
                // It ends at the moment at which it begins.
                let script = """
                    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=old -keyout old.key \
                        2>/dev/null | openssl x509 -req -signkey old.key -days 0 -out old.pem 2>/dev/null
                    """
                try await runSuccessfully("bash", ["-euo", "pipefail", "-c", script], directory: directory)
                let (data, log) = (directory + "/data", directory + "/log")
                let server = try ChildProcess(
                    "cistern",
                    [
                        "serve", "--data", data, "--listen", "127.0.0.1:0", "--tls-certificate", certificate,
                        "--tls-key", key,
                    ], log: log)
                defer { server.killGroup() }
                try await waitUntil("it to be said") {
                    let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                    return said.contains("a certificate in \(certificate) expired less than a day ago")
                }
                let address = try String(contentsOfFile: data + "/address", encoding: .utf8)
                let url = address.trimmingCharacters(in: .newlines) + "/readyz"
                let ready = try await runSuccessfully("curl", ["--silent", "--insecure", "--fail", url]).output
                #expect(ready.contains(#""certificate":"expired""#), "\(ready)")
                #expect(try await server.stop() == 0)
            }
        }

        @Test("A name that can't be a buildpack's guid as well leads to --guid, before anything is sent")
        func buildpackNames() async throws {
            for arguments in [
                ["Ruby_Buildpack.zip"], ["ruby buildpack-v1.zip"], ["a.zip", "--name", "Java (offline)"],
            ] {
                let result = try await run("cistern", ["buildpack", "upload"] + arguments)
                #expect(result.status == 2, "\(arguments): \(result.errors)")
                #expect(
                    result.errors.contains("can't be the guid as well") && result.errors.contains("--guid"),
                    "\(arguments): \(result.errors)")
            }
        }

        @Test("A server's URL may have its scheme in letters of any case")
        func schemes() async throws {
            try await withServer { server in
                let environment = server.commandLineEnvironment()
                for url in ["HTTPS://\(server.address)", "Https://\(server.address)/"] {
                    let result = try await run(
                        "cistern", ["droplet", "list", "--server", url], environment: environment)
                    #expect(result.status == 0, "\(result.errors)")
                }
                let result = try await run(
                    "cistern", ["droplet", "list", "--server", server.address], environment: environment)
                #expect(
                    result.errors.hasPrefix(
                        "Error: '\(server.address)' is not a server's URL: it looks like https://host:port."))
            }
        }

        @Test("A new user's name has one form; a file that has both spellings keeps both")
        func userNames() async throws {
            try await withTemporaryDirectory { directory in
                let (composed, combining) = ("Jos\u{E9}", "Jose\u{301}")
                func add(_ name: String, _ password: String) async throws -> CommandResult {
                    try await run("cistern", ["user", "add", "--data", directory, name], input: password + "\n")
                }
                let added = try await add(composed, "one")
                #expect(added.status == 0, "\(added.errors)")
                let refused = try await add(combining, "two")
                #expect(refused.status == 1)
                #expect(
                    Array(refused.errors.utf8)
                        == Array(
                            """
                            Error: '\(combining)' is spelt with combining characters (6 bytes): names of users are taken \
                            in Unicode's composed form alone (NFC, 5 bytes), so that no two look alike
                            """.utf8))
                let file = directory + "/users.htpasswd"
                let line = try String(contentsOfFile: file, encoding: .utf8)
                let hash = line.drop { $0 != ":" }
                try Data((line + combining + hash).utf8).write(to: URL(fileURLWithPath: file))
                let changed = try await add(combining, "three")
                #expect(changed.status == 0, "\(changed.errors)")
                let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
                #expect(lines.count == 2 && lines[0] + "\n" == line && !lines[1].hasSuffix(hash))
            }
        }

        @Test("A pushed manifest or digest that can't be taken")
        func registry() async throws {
            try await withServer { server in
                func said(_ method: String, _ path: String, _ body: String = "") async throws -> String {
                    let answer = try await server.request(
                        method, path, as: .operator,
                        headers: ["Content-Type": "application/vnd.oci.image.manifest.v1+json"],
                        body: method == "PUT" ? .bytes(Array(body.utf8)) : .none)
                    return answer.text
                }
                let upload = "/v2/team/app/manifests/"
                for (path, body, message) in [
                    (
                        upload + "1", "{\"a\":1,\"a\":2}",
                        "the manifest is not valid JSON: the member 'a' appears twice at byte 12"
                    ),
                    (upload + "1", "nonsense", "the manifest is not valid JSON: unexpected character at byte 0"),
                    (upload + "1", "[]", "the manifest is not a JSON object"),
                    (upload + "sha384:00", "{}", "'sha384' is not an algorithm that is taken here: sha256, sha512"),
                    (
                        upload + "sha256:00", "{}",
                        "'sha256:00' is not a digest: sha256 has 64 digits, 0 to 9 and a to f"
                    ),
                ] {
                    let text = try await said("PUT", path, body)
                    #expect(text.contains("\"message\":\"\(message)\""), "\(text)")
                }
                let begun = try await said("POST", "/v2/team/app/blobs/uploads/?digest-algorithm=sha384")
                #expect(begun.contains("'sha384' is not an algorithm that is taken here: sha256, sha512"), "\(begun)")
            }
        }
    }
}
