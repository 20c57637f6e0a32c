import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Tag lists", .serialized, .sharedServer)
    struct TagTests {
        private static let repository = "cloudfoundry/tags"

        /// Uploads three droplets and gives all tags.
        private static func tags(_ world: World) async throws -> [String] {
            for text in ["one", "two", "three"] { try await world.upload(Droplet(text), guid: "tags") }
            let answer = try await world.client.get("/v2/\(repository)/tags/list")
            #expect(answer.status == 200 && answer["Content-Type"] == "application/json")
            #expect(answer.json["name"]?.string == repository)
            return (answer.json["tags"]?.array ?? []).compactMap(\.string)
        }

        @Test("Each droplet's hash is a tag, in the order of their bytes, and each tag can be pulled")
        func all() async throws {
            let world = try SharedServer.world()
            let tags = try await Self.tags(world)
            #expect(Set(tags).isSuperset(of: ["one", "two", "three"].map { Droplet($0).sha256 }))
            #expect(tags == tags.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
            #expect(Set(tags).count == tags.count)
            for tag in tags {
                #expect(try await world.client.head("/v2/\(Self.repository)/manifests/\(tag)").status == 200)
            }
        }

        @Test("Pages of any size, followed by their links, give all tags once", arguments: [1, 2, 3, 1000])
        func pages(size: Int) async throws {
            let world = try SharedServer.world()
            let all = try await Self.tags(world)
            var found: [String] = []
            var next: String? = "/v2/\(Self.repository)/tags/list?n=\(size)"
            for _ in 0...all.count {
                guard let path = next else { break }
                let answer = try await world.client.get(path)
                let tags = (answer.json["tags"]?.array ?? []).compactMap(\.string)
                #expect(answer.status == 200 && tags.count <= size)
                found += tags
                let link = answer["Link"]
                #expect(link == nil || link?.hasSuffix(#">; rel="next""#) == true)
                next = link.map { String($0.dropFirst().prefix { $0 != ">" }) }
            }
            #expect(next == nil && found == all)
        }

        @Test("last begins behind a tag, whether it is there or not")
        func last() async throws {
            let world = try SharedServer.world()
            let all = try await Self.tags(world)
            func after(_ last: String) async throws -> [String] {
                let answer = try await world.client.get("/v2/\(Self.repository)/tags/list?last=\(last)")
                #expect(answer.status == 200)
                return (answer.json["tags"]?.array ?? []).compactMap(\.string)
            }
            #expect(try await after(all[0]) == Array(all.dropFirst()))
            let between = all[0] + "0"
            #expect(try await after(between) == all.filter { between.utf8.lexicographicallyPrecedes($0.utf8) })
            #expect(try await after("0") == all)
            #expect(try await after("zzz") == [])
            #expect(try await after(String(repeating: "z", count: 3000)) == [])
        }

        @Test("n=0 gives none; too large a number gives all")
        func counts() async throws {
            let world = try SharedServer.world()
            let all = try await Self.tags(world)
            for (n, count) in [
                ("0", 0), ("2147483648", all.count), ("9223372036854775807", all.count),
                ("99999999999999999999999", all.count),
            ] {
                let answer = try await world.client.get("/v2/\(Self.repository)/tags/list?n=\(n)")
                #expect(answer.status == 200 && answer.json["tags"]?.array?.count == count, "n=\(n)")
                #expect(answer["Link"] == nil)
            }
        }

        @Test(
            "What is no number is refused",
            arguments: [
                "-1", "-9223372036854775808", "x", "1e3", "1.5", "%00", "", "%zz", "+1",
                "0x10",
            ])
        func noNumber(n: String) async throws {
            let world = try SharedServer.world()
            _ = try await Self.tags(world)
            let answer = try await world.client.get("/v2/\(Self.repository)/tags/list?n=\(n)")
            #expect(answer.status == 400 && answer.registryCode == "UNSUPPORTED", "\(answer.text)")
        }

        @Test(
            "An unknown repository is NAME_UNKNOWN",
            arguments: ["cloudfoundry/nobody", "a", "a/b/c", "cistern/nothing"])
        func unknown(repository: String) async throws {
            let answer = try await SharedServer.world().client.get("/v2/\(repository)/tags/list")
            #expect(answer.status == 404 && answer.registryCode == "NAME_UNKNOWN")
        }
    }
}
