import TestSupport
import Testing

/// A rule of the distribution specification, and how a client would see that it is kept.
struct Rule: Sendable, CustomTestStringConvertible {
    /// The endpoint's number in the specification's table (end-1 … end-14), and its method.
    let endpoint: String
    /// The heading in the specification.
    let section: String
    let sentence: String
    let check: @Sendable (Repo) async throws -> Void

    init(
        _ endpoint: String, _ section: String, _ sentence: String,
        _ check: @escaping @Sendable (Repo) async throws -> Void
    ) {
        self.endpoint = endpoint
        self.section = section
        self.sentence = sentence
        self.check = check
    }

    var testDescription: String { "\(endpoint), \(section): \(sentence)" }

    /// A repository of the rule's own.
    var repository: String {
        let words = testDescription.lowercased().split { !$0.isASCII || !($0.isLetter || $0.isNumber) }
        // Long enough to be different, short enough for a suffix.
        return "team/" + words.joined().prefix(100) + "\(sentence.utf8.count)"
    }
}

extension ServerTests {
    @Suite("The distribution specification, rule by rule", .serialized, .registryServer)
    struct SpecificationTests {
        @Test("Pushing blobs", arguments: Rule.blobs + Rule.chunks + Rule.uploads + Rule.mounts)
        func blobs(_ rule: Rule) async throws { try await keep(rule) }

        @Test("Pushing manifests", arguments: Rule.manifests + Rule.references + Rule.reserved)
        func manifests(_ rule: Rule) async throws { try await keep(rule) }

        @Test("Listing and pulling", arguments: Rule.tags + Rule.referrers + Rule.catalog + Rule.ranges)
        func lists(_ rule: Rule) async throws { try await keep(rule) }

        @Test("Deleting", arguments: Rule.deletes)
        func deletes(_ rule: Rule) async throws { try await keep(rule) }

        @Test("Bounds", arguments: Rule.limits)
        func limits(_ rule: Rule) async throws { try await keep(rule) }

        @Test("Rights", arguments: Rule.rights)
        func rights(_ rule: Rule) async throws { try await keep(rule) }

        private func keep(_ rule: Rule) async throws {
            let world = try SharedServer.world()
            let before = world.failures
            try await rule.check(Repo(world.client, rule.repository))
            #expect(world.failures == before, "nothing failed inside")
        }
    }
}

extension Trait where Self == SharedServer {
    /// A server with users who push here and there: `team` to team/**, `guest` to guest/**, and `reader`, who may only
    /// pull guest/**.
    static var registryServer: Self {
        SharedServer(
            arguments: ["--stack", "tiny"],
            users: [
                "team": #"""
                repositories:
                  "team/**": [push]
                """#,
                "guest": #"""
                repositories:
                  "guest/**": [push]
                """#,
                "reader": #"""
                repositories:
                  "guest/**": [pull]
                """#,
            ]
        ) { world in
            try await world.server.importTinyRootfs(version: "1")
        }
    }
}

extension World {
    /// Requests that were answered with 500.
    fileprivate var failures: Int { log.split(separator: #""status":500"#, omittingEmptySubsequences: false).count - 1 }
}
