import TestSupport
import Testing

@Suite("skopeo", .serialized)
struct SkopeoTests {
    @Test("inspects and copies an uploaded droplet's image, by tag and by digest")
    func copies() async throws {
        try await withServer { server in
            try await server.importTinyRootfs()
            let uploaded = try await server.upload(Fixtures.sample("static"), guid: "site")
            try await withTemporaryDirectory { directory in
                let skopeo = try await Skopeo(server.access(), in: directory)
                let seen = try await skopeo.inspect(uploaded.image)
                #expect(seen.digest == uploaded.digest)
                #expect(seen.layers.count == 3, "rootfs, lifecycle, droplet")
                #expect(seen.os == "linux")
                let hash = try #require(uploaded.image.split(separator: ":").last.map(String.init))
                #expect(try await skopeo.tags(server.address + "/cloudfoundry/site").contains(hash))

                try await skopeo.copy(uploaded.image, toLayout: directory + "/tag")
                let byDigest = "\(server.address)/cloudfoundry/site@\(uploaded.digest)"
                try await skopeo.copy(byDigest, toLayout: directory + "/digest")
                for copy in ["tag", "digest"] {
                    let index = try await runSuccessfully("cat", ["\(directory)/\(copy)/index.json"]).output
                    #expect(index.contains(uploaded.digest), "the layout \(copy) has the manifest's own bytes")
                }
            }
        }
    }

    @Test("an image stays pullable by digest after another rootfs is promoted, and after a restart")
    func staysPullable() async throws {
        try await withTemporaryDirectory { directory in
            let first = try await RunningServer(data: directory + "/data")
            try await first.importTinyRootfs(version: "1")
            let old = try await first.upload(Fixtures.sample("static"), guid: "site")
            try await first.importTinyRootfs(version: "2")
            let hash = try #require(old.image.split(separator: ":").last.map(String.init))
            let skopeo = try await Skopeo(first.access(), in: directory)
            let new = try await skopeo.inspect(old.image)
            #expect(new.digest != old.digest, "the tag names the new rootfs' image")
            let oldLayers = try await skopeo.inspect("\(first.address)/cloudfoundry/site@\(old.digest)").layers
            #expect(zip(new.layers, oldLayers).filter { $0 != $1 }.count == 1, "only the rootfs layer differs")
            #expect(try await first.stop() == 0)

            let second = try await RunningServer(data: directory + "/data")
            let again = try await Skopeo(second.access(), in: directory)
            #expect(try await again.inspect("\(second.address)/cloudfoundry/site:\(hash)").digest == new.digest)
            #expect(try await again.inspect("\(second.address)/cloudfoundry/site:\(hash)-1").layers == oldLayers)
            try await again.copy("\(second.address)/cloudfoundry/site@\(old.digest)", toLayout: directory + "/old")
            #expect(try await second.stop() == 0)
        }
    }

    @Test("is refused with a wrong password, an unknown user, or none")
    func refused() async throws {
        try await withServer { server in
            try await server.importTinyRootfs()
            let uploaded = try await server.upload(Fixtures.sample("worker"), guid: "worker")
            try await withTemporaryDirectory { directory in
                let skopeo = try await Skopeo(server.access(), in: directory)
                for credentials in ["pull:wrong", "nobody:wrong", nil] {
                    let result = try await skopeo.attempt(uploaded.image, credentials: credentials)
                    #expect(result.status != 0)
                    #expect(result.errors.contains("unauthorized") || result.errors.contains("authentication required"))
                }
            }
        }
    }
}
