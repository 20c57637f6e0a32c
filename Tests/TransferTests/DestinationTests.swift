import Synchronization
import TestSupport
import Testing

@testable import Transfer

@Suite("Where the URLs of a task may lead")
struct DestinationTests {
    @Test(
        "no spelling of an address that is not to be reached gets through",
        arguments: [
            "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.255.255.254",
            "0.0.0.0", "0", "0.1.2.3", "169.254.169.254", "2852039166", "0xa9.0xfe.0xa9.0xfe", "224.0.0.1",
            "239.255.255.255", "240.0.0.1", "255.255.255.255", "100.100.100.200", "168.63.129.16",
            "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[fe80::1]", "[febf::1]", "[ff02::1]", "[fd00:ec2::254]",
            "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]",
            "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2001:0:1:2::3]", "127.0.0.1.",
        ])
    func literals(host: String) async throws {
        let rules = DestinationRules { _ in
            Issue.record("an address is no name")
            return []
        }
        let error = await #expect(throws: TransferFailure.self) {
            _ = try await rules.addresses(of: TransferURL("https://\(host)/x"))
        }
        #expect(error?.kind == .forbidden)
    }

    @Test(
        "public and private addresses may be reached",
        arguments: ["10.0.0.1", "192.168.1.1", "172.16.0.1", "93.184.216.34", "[2606:2800::1]", "[fd00::1]"])
    func reachable(host: String) async throws {
        let rules = DestinationRules { _ in [] }
        let text = host.filter { $0 != "[" && $0 != "]" }
        #expect(try await rules.addresses(of: TransferURL("https://\(host)/x")) == [#require(IPAddress(text))])
    }

    @Test(
        "a name is judged by all that it resolves to",
        arguments: [
            (["93.184.216.34"], true), (["93.184.216.34", "10.1.1.1"], true), (["127.0.0.1"], false),
            (["93.184.216.34", "169.254.169.254"], false), (["::ffff:127.0.0.1"], false), (["::1"], false), ([], false),
        ] as [([String], Bool)])
    func names(addresses: [String], isAllowed: Bool) async throws {
        let rules = DestinationRules { _ in addresses.compactMap { IPAddress($0) } }
        let found = try? await rules.addresses(of: TransferURL("https://evil.example/"))
        #expect((found != nil) == isAllowed)
    }

    @Test(
        "the allow list names hosts, with or without a port",
        arguments: [
            (["127.0.0.1"], "https://127.0.0.1:8443/", true), (["127.0.0.1:8443"], "https://127.0.0.1:8443/", true),
            (["127.0.0.1:8443"], "https://127.0.0.1:8444/", false), (["127.0.0.1:443"], "https://127.1/", true),
            (["LOCALHOST"], "https://localhost/", true), (["localhost"], "https://localhost.evil.example/", false),
            (["[::1]:9"], "https://[0::1]:9/", true), (["[::1]:9"], "https://[::1]/", false),
            (["127.0.0.1"], "https://evil.example/", false), ([], "https://localhost/", false),
        ] as [([String], String, Bool)])
    func allowList(hosts: [String], url: String, isAllowed: Bool) async throws {
        let allowed = Set(try hosts.map { try #require(DestinationRules.AllowedHost($0)) })
        let rules = DestinationRules(allowedHosts: allowed) { _ in [IPAddress("127.0.0.1")].compactMap { $0 } }
        let found = try? await rules.addresses(of: TransferURL(url))
        #expect((found != nil) == isAllowed)
    }

    @Test("http needs to be allowed, other schemes never are")
    func schemes() async throws {
        let plain = DestinationRules(allowsPlain: true) { _ in [] }
        let strict = DestinationRules { _ in [] }
        #expect(try await plain.addresses(of: TransferURL("http://10.0.0.1/")).count == 1)
        await #expect(throws: TransferFailure.self) { try await strict.addresses(of: TransferURL("http://10.0.0.1/")) }
        for text in ["ssh://10.0.0.1/x", "file:///etc/passwd"] {
            await #expect(throws: TransferFailure.self) { try await plain.addresses(of: TransferURL(text)) }
        }
    }

    @Test("the address that was judged is the one that is connected to, however the name resolves the next time")
    func rebinding() async throws {
        try await ScriptedServer.with(files: ["/x": Array("inside".utf8)]) { server in
            let asked = Count()
            // First an address where nobody is, then the loopback address.
            let rules = DestinationRules(allowsPlain: true) { _ in
                asked.add(1)
                return [asked.value == 1 ? IPAddress("192.0.2.1") : IPAddress("127.0.0.1")].compactMap { $0 }
            }
            var times = TaskClient.Times()
            times.connect = .milliseconds(50)
            let client = TaskClient(rules: rules, trust: try TaskTrust(), times: times, pause: { _ in })
            try await withTemporaryDirectory { directory in
                _ = await #expect(throws: TransferFailure.self) {
                    _ = try await client.download(
                        TransferURL("http://rebind.example:\(server.port)/x"), to: directory + "/x", limit: 100)
                }
            }
            #expect(server.requests.isEmpty)
        }
    }
}

@Suite("URLs of a task")
struct TransferURLTests {
    @Test(
        "what is no URL that can be used is refused",
        arguments: [
            "", "x", "https:/x", "https://", "https://a b/", "https://a\\@b/", "https://a:b@/", "https://a:0/",
            "https://a:65536/", "https://a:x/", "https://[::1/", "https://[::1%25eth0]/", "https://ä.example/",
            "https://a%2eb/", "gopher://a/", "ext::sh -c x", "git://a/x", "https://user:%zz@a/", "https://a/#%00",
            "file://other/x", "https://-oProxyCommand=x/", "javascript:alert(1)",
            "https://a/" + String(repeating: "x", count: 9000),
        ])
    func refused(text: String) {
        #expect(throws: TransferFailure.self) { try TransferURL(text) }
    }

    @Test(
        "messages and records show no user, password or query",
        arguments: [
            ("https://u:secret@host/p", "https://host/p"), ("https://secret@host:1/p#v1", "https://host:1/p#v1"),
            ("https://host/p?token=secret", "https://host/p?***"), ("https://u:p@secret@host/", "https://host/"),
            ("https://u:sec/ret@host/x", "https://host/x"),
            ("gopher://u:secret@host/x?y=secret", "gopher://host/x?***"),
            ("ssh://git:secret@host/x.git", "ssh://host/x.git"), ("a-guid", "a-guid"),
            ("https://host/@scope/x", "https://host/@scope/x"), ("file:///a/b", "file:///a/b"),
        ])
    func masked(text: String, expected: String) {
        #expect(TransferURL.masked(text) == expected)
    }

    @Test("other programs' words are masked, too")
    func maskedText() {
        let text = "fatal: unable to access 'https://u:secret@host/x.git/': see https://host/?k=secret\nagain"
        #expect(
            TransferURL.maskedText(text)
                == "fatal: unable to access 'https://host/x.git/': see https://host/?***\nagain")
    }

    @Test(
        "redirects are followed as RFC 3986 says",
        arguments: [
            ("https://other/x", "https://other/x"), ("//other/x?q", "https://other/x?q"), ("/x", "https://host:1/x"),
            ("x", "https://host:1/a/x"), ("../x", "https://host:1/x"), ("?r", "https://host:1/a/b?r"),
            ("./x/./y?z", "https://host:1/a/x/y?z"), ("../../../x#f", "https://host:1/x"),
        ])
    func redirects(reference: String, expected: String) throws {
        let url = try TransferURL("https://u:p@host:1/a/b?q#f").following(reference)
        #expect(url.withoutCredentials == expected)
        #expect(url.credentials == nil)
    }

    @Test("only refs that git can't take for anything else are handed to it")
    func refs() {
        for ref in ["", "main", "v1.2.3", "feature/x", "0123456789abcdef"] { #expect(GitClone.isRef(ref), "\(ref)") }
        for ref in ["-x", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "a\\b", "@{x", "a\u{7}"] {
            #expect(!GitClone.isRef(ref), "\(ref)")
        }
    }
}

@Suite("Files that a task's URLs may name")
struct DestinationFileTests {
    @Test(
        "Of a directory those that lie directly in it",
        arguments: [
            ("/given/0", true), ("/given/a b.zip", true), ("/given", false), ("/given/", false), ("/given/.", false),
            ("/given/..", false), ("/given/../etc/passwd", false), ("/given/sub/0", false), ("/given//0", false),
            ("/given2/0", false), ("/etc/passwd", false), ("given/0", false), ("", false),
        ])
    func inside(path: String, isAllowed: Bool) {
        #expect(DestinationRules.Files.inside("/given").allow(path) == isAllowed)
        #expect(DestinationRules.Files.all.allow(path) && !DestinationRules.Files.none.allow(path))
    }
}
