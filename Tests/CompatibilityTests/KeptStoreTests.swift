import Foundation
import JSON
import OCI
import TestSupport
import Testing

@Suite("Stores that earlier versions wrote", .serialized, .timeLimit(.minutes(5)))
struct KeptStoreTests {
    @Test("There is one of every format")
    func archives() {
        #expect(Set(KeptStore.names.map { $0.prefix { $0 != "-" } }) == ["1", "2"])
    }

    @Test(
        "The first start says that the version before can't read the store any more, where that is so, and no other start does",
        arguments: KeptStore.names)
    func migration(name: String) async throws {
        try await KeptStore.with(name) { store in
            for _ in 1...2 {
                try await store.serve { _ in }
                #expect(try store.migrations == (name.hasPrefix("1-") ? 1 : 0))
            }
        }
    }

    @Test("A verification of a server that does not run changes nothing", arguments: ["1-3ca862b"])
    func offline(name: String) async throws {
        try await KeptStore.with(name) { store in
            let report = try await run("cistern", ["verify", "--data", store.data, "--rate", "4096"])
            #expect(report.output.contains("damaged") && !report.output.contains("unreadable"), "\(report.output)")
            try await store.serve { try await store.expectAnswers($0) }
            #expect(try store.migrations == 1, "it was not migrated before")
        }
    }

    @Test(
        "All that was served is served, what was removed stays so, and the API says the same; after another start too",
        arguments: KeptStore.names)
    func content(name: String) async throws {
        try await KeptStore.with(name) { store in
            for _ in 1...2 {
                try await store.serve { server in
                    try await store.expectContent(server)
                    try await store.expectAnswers(server)
                    try await store.expectNothing(of: store.gone, server)
                }
            }
        }
    }

    @Test(
        "With another lifecycle, other settings and no programs for arm64 every digest is what it was",
        arguments: KeptStore.names)
    func settings(name: String) async throws {
        try await KeptStore.with(name) { store in
            // Signed provenance is served as long as its key is configured.
            let settings = [
                "--provenance-key", store.directory + "/provenance.pem", "--layers-compression", "gzip",
                "--layers-level", "small",
            ]
            try await store.serve(settings) { server in
                try await store.expectContent(server) { $0.isByDigest }
            }
            try await store.serve { try await store.expectContent($0) }
        }
    }

    @Test(
        "A collection takes what is garbage and nothing else, and a verification finds what was damaged and nothing else",
        arguments: KeptStore.names)
    func upkeep(name: String) async throws {
        try await KeptStore.with(name) { store in
            // What was written down is older than that.
            try await store.serve(more: ["--gc-grace-seconds", "1"]) { server in
                #expect(try await server.fetch(store.garbage, accept: "").map(\.status) == [200])
                try await server.cisternSuccessfully(["gc", "--dry-run"])
                #expect(try await server.fetch(store.garbage, accept: "").map(\.status) == [200], "nothing went")
                try await server.cisternSuccessfully(["gc"])
                try await store.expectNothing(of: store.garbage, server)
                try await store.expectContent(server)

                let before = try await server.cistern(["verify", "--rate", "4096"])
                #expect(before.status == 1)
                for (repository, content) in store.quarantined {
                    let path = "/v2/\(repository)/blobs/\(Digest.of(content))"
                    try await store.expectNothing(of: [path], server)
                    #expect(before.output.contains("\(Digest.of(content)): quarantined before"), "\(before.output)")
                    try await server.push(content, to: repository)
                    #expect(try await server.fetch([path], accept: "").map(\.body) == [content], "whole again")
                }
                // The damaged bytes are nobody's now.
                try await server.cisternSuccessfully(["verify", "--repair", "--rate", "4096"])
                let after = try await server.cisternSuccessfully(["verify", "--rate", "4096"])
                #expect(after.output.contains("damaged       0 blobs"), "\(after.output)")
                #expect(
                    !after.output.contains("corrects these") && !after.output.contains("unreadable"), "\(after.output)")
                try await store.expectContent(server)
            }
        }
    }

    @Test("Pushes, uploads, imports, promotions and rollbacks go on", arguments: KeptStore.names)
    func work(name: String) async throws {
        try await KeptStore.with(name) { store in
            try await store.serve { server in
                let upload = try await server.request("PATCH", store.unfinished, as: .operator, body: .bytes([1]))
                #expect(upload.status == 404, "its client begins again")
                try await server.pushImage(to: "team/app", tag: "new")

                // It was uploaded with the settings that are in force now.
                let droplets = try #require(store.answers.first { $0.path == "/api/v1/droplets/one" })
                let split = droplets.body["droplets"]?.array?.first { $0["mode"] == "split" }
                let hash = try #require(split?["hash"]?.string)
                let file = store.directory + "/droplet"
                _ = try await server.request("GET", "/droplets/one/\(hash)", as: .operator, to: file)
                var layers: [JSONValue] = []
                for guid in ["one", "new"] {
                    let upload = try await server.cisternSuccessfully(
                        ["droplet", "upload", "--guid", guid, "--stack", "kept", "--json", file])
                    layers.append(try #require(try JSONValue(parsing: upload.stdout)["layers"]))
                }
                #expect(layers[0] == layers[1], "it was converted then")

                let rootfs = store.directory + "/rootfs"
                _ = try await server.request("GET", "/api/v1/rootfs/kept/3/export", as: .operator, to: rootfs)
                try await server.cisternSuccessfully(
                    ["rootfs", "import", "--stack", "kept", "--version", "6", "--promote", rootfs])
                #expect(
                    try await server.cistern(["rootfs", "promote", "--stack", "kept", "--version", "4"]).status == 1,
                    "it is blocked")
                let back = try await server.cisternSuccessfully(["rootfs", "rollback", "--stack", "kept"])
                #expect(back.output.contains("kept is on 3 now"))
                // Version 3 is current again, so tags lead where they led.
                try await store.expectContent(server) { !$0.path.contains("/team/") }
            }
            try await store.serve { server in
                try await store.expectContent(server)
                let pushed = try await server.request("GET", "/v2/team/app/manifests/new", as: .operator)
                #expect(pushed.status == 200)
            }
        }
    }
}
