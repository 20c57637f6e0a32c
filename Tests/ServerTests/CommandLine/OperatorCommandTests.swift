import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("cistern rootfs and droplet", .serialized, .emptyServer)
    struct OperatorCommandTests {
        private static func json(_ arguments: [String]) async throws -> JSONValue {
            let result = try await SharedServer.world().server.cisternSuccessfully(arguments + ["--json"])
            return try JSONValue(parsing: result.stdout)
        }

        @Test("A rootfs is imported, listed, shown and promoted")
        func rootfs() async throws {
            let server = try SharedServer.world().server
            let file = try await Fixtures.tinyRootfs(version: "1")
            let sum = String(try await runSuccessfully("sha256sum", [file]).output.prefix(64))
            let base = ["rootfs", "import", "--stack", "words", "--shell", "/bin/sh"]
            let imported = try await server.cisternSuccessfully(base + ["--version", "1", "--sha256", sum, file])
            #expect(imported.output.contains("words 1") && imported.output.contains(sum))
            #expect(imported.output.contains("rootfs promote --stack words --version 1"), "it says what to do next")
            let none = try await server.cistern(["rootfs", "show", "--stack", "words"])
            #expect(none.status == 1 && none.errors.contains("promote"), "\(none.errors)")

            let promoted = try await server.cisternSuccessfully([
                "rootfs", "promote", "--stack", "words", "--version", "1",
            ])
            #expect(promoted.output == "words is on 1 now")
            let second = try await Fixtures.tinyRootfs(version: "2")
            let both = try await server.cisternSuccessfully(base + ["--version", "2", "--promote", second])
            #expect(both.output.contains("current"))
            let back = try await server.cisternSuccessfully(
                ["rootfs", "promote", "--stack", "words", "--version", "1", "--reason", "it broke"])
            #expect(back.output == "words is on 1 now (was on 2)")

            let table = try await server.cisternSuccessfully(["rootfs", "list", "--stack", "words"]).output
            let rows = table.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
            #expect(rows.count == 3 && rows[0].starts(with: ["STACK", "VERSION", "ARCH", "CURRENT"]))
            #expect(rows.contains { $0.starts(with: ["words", "1", "amd64", "*"]) })
            let list = try await Self.json(["rootfs", "list", "--stack", "words"])
            #expect(list["versions"]?.array?.count == 2)
            let shown = try await Self.json(["rootfs", "show", "--stack", "words"])
            #expect(shown["version"] == "1")
            #expect(shown["history"]?.array?.map { $0["version"] } == ["1", "2", "1"])
            #expect(shown["history"]?.array?.first?["reason"] == "it broke")
            #expect(shown["history"]?.array?.first?["by"] == "operator")
            let version = try await Self.json(["rootfs", "show", "--stack", "words", "--version", "1"])
            #expect(version["versions"]?.array?.first?["source"]?.string == "sha256:\(sum)")
        }

        @Test("A rootfs is refused with the reason, and nothing is imported")
        func badRootfs() async throws {
            let server = try SharedServer.world().server
            let file = try await Fixtures.tinyRootfs(version: "1")
            func refused(_ arguments: [String], _ words: String..., location: SourceLocation = #_sourceLocation)
                async throws
            {
                let result = try await server.cistern(["rootfs", "import", "--stack", "bad"] + arguments)
                #expect([1, 2].contains(result.status) && result.output.isEmpty, sourceLocation: location)
                for word in words {
                    #expect(result.errors.contains(word), "\(result.errors)", sourceLocation: location)
                }
            }
            let zero = String(repeating: "0", count: 64)
            try await refused(
                ["--version", "1", "--shell", "/bin/sh", "--sha256", zero, file], "SHA-256", "fetch it again")
            try await refused(["--version", "1", file], "/bin/bash", "--shell")
            try await refused(["--version", "1", "--shell", "sh", file], "absolute")
            try await refused(["--version", "1", "--shell", "/bin/sh", "--arch", "arm64", file], "arm64", "lifecycle")
            try await refused(["--version", "1", "--shell", "/bin/sh", "--arch", "pdp11", file], "pdp11")
            try await refused(["--version", "../1", "--shell", "/bin/sh", file], "../1")
            try await refused(["--version", "current", "--shell", "/bin/sh", file], "current")
            try await refused(
                ["--version", "1", "--shell", "/bin/sh", "/nonexistent/rootfs"], "/nonexistent/rootfs", "No such file")
            try await refused(["--version", "1", "--shell", "/bin/sh", "/etc"], "/etc", "regular file")
            try await refused(["--version", "1", "--shell", "/bin/sh", "/etc/passwd"], "422")
            let list = try await server.cistern(["rootfs", "list", "--stack", "bad"])
            #expect(list.status == 1 && list.errors.contains("bad"), "\(list.errors)")
        }

        @Test("A version is imported once: the same file again changes nothing, another one is refused")
        func immutable() async throws {
            let server = try SharedServer.world().server
            let base = ["rootfs", "import", "--stack", "once", "--version", "1", "--shell", "/bin/sh"]
            let one = try await Fixtures.tinyRootfs(version: "1")
            try await server.cisternSuccessfully(base + [one])
            let before = try await Self.json(["rootfs", "list", "--stack", "once"])
            try await server.cisternSuccessfully(base + [one])
            let other = try await server.cistern(base + [try await Fixtures.tinyRootfs(version: "2")])
            #expect(other.status == 1 && other.errors.contains("choose another version"), "\(other.errors)")
            #expect(try await Self.json(["rootfs", "list", "--stack", "once"]) == before)
        }

        @Test("A droplet and a rootfs are read from pipes")
        func pipes() async throws {
            let server = try SharedServer.world().server
            let cistern = try Programs.path(of: "cistern")
            let copies = NSTemporaryDirectory() + "/copies-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: copies, withIntermediateDirectories: false)
            defer { try? FileManager.default.removeItem(atPath: copies) }
            func succeed(_ script: String, _ file: String) async throws -> String {
                try await runSuccessfully(
                    "bash",
                    ["-euc", "set -o pipefail; cistern() { \"$0\" \"$@\"; }; file=$1; \(script)", cistern, file],
                    environment: server.commandLineEnvironment().merging(["TMPDIR": copies]) { $1 },
                    timeout: .seconds(60)
                ).output
            }
            let rootfs = try await Fixtures.tinyRootfs(version: "1")
            let base = "rootfs import --stack piped --shell /bin/sh --version"
            let imported = try await succeed("zcat $file | xz -0 | cistern \(base) 1 -", rootfs)
            #expect(imported.contains("imported piped 1"))
            #expect(try await succeed("cistern \(base) 2 <(zcat $file)", rootfs).contains("imported piped 2"))
            #expect(try await succeed("cistern \(base) 3 - < $file", rootfs).contains("imported piped 3"))
            let list = try await Self.json(["rootfs", "list", "--stack", "piped"])
            #expect(list["versions"]?.array?.allSatisfy { $0["name"] == nil } == true, "a pipe has no name")
            let droplet = try await Fixtures.sample("worker")
            let hash = String(try await runSuccessfully("sha256sum", [droplet]).output.prefix(64))
            for (guid, argument) in [
                ("dash", "cat $file | cistern U -"), ("device", "cat $file | cistern U /dev/stdin"),
                ("substitution", "cistern U <(cat $file)"), ("redirected", "cistern U - < $file"),
            ] {
                let upload = "droplet upload --guid piped-\(guid) --stack tiny"
                let image = try await succeed(argument.replacing("U", with: upload), droplet)
                #expect(image == "\(server.address)/cloudfoundry/piped-\(guid):\(hash)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: copies) == [])
        }

        @Test("A droplet is uploaded, listed, shown and removed")
        func droplet() async throws {
            let server = try SharedServer.world().server
            let file = try await Fixtures.sample("static")
            let hash = String(try await runSuccessfully("sha256sum", [file]).output.prefix(64))
            // Before there is a rootfs, a droplet can come in: it has no image yet.
            let early = try await server.cisternSuccessfully([
                "droplet", "upload", "--guid", "words", "--stack", "tiny", file,
            ])
            #expect(early.output == "\(server.address)/cloudfoundry/words:\(hash)")
            #expect(early.errors == "for the stack tiny on amd64", "no progress bar where there is no terminal")
            #expect(try await Self.json(["droplet", "show", "--guid", "words"])["digest"] == .null)
            try await server.importTinyRootfs()
            let uploaded = try await Self.json(["droplet", "upload", "--guid", "words", "--stack", "tiny", file])
            #expect(uploaded["image"]?.string == "\(server.address)/cloudfoundry/words:\(hash)")
            let digest = try #require(uploaded["digest"]?.string)
            let manifest = try await server.request("HEAD", "/v2/cloudfoundry/words/manifests/\(hash)")
            #expect(manifest.header("Docker-Content-Digest") == digest)
            #expect(uploaded["layers"]?.array?.count == 1 && uploaded["rootfs"] == "1" && uploaded["stack"] == "tiny")

            for arguments in [["droplet", "list"], ["droplet", "list", "--guid", "words"]] {
                let list = try await Self.json(arguments)["droplets"]?.array ?? []
                #expect(list.filter { $0["hash"]?.string == hash }.count == 1)
                let table = try await server.cisternSuccessfully(arguments).output
                #expect(table.hasPrefix("GUID") && table.contains(hash) && table.contains("operator"))
            }
            for show in [["--guid", "words"], ["--guid", "words", "--hash", hash]] {
                #expect(try await Self.json(["droplet", "show"] + show)["digest"]?.string == digest)
            }
            let removed = try await server.cisternSuccessfully(["droplet", "remove", "--guid", "words", "--hash", hash])
            #expect(removed.output == "removed")
            for arguments in [
                ["droplet", "remove", "--guid", "words", "--hash", hash],
                ["droplet", "show", "--guid", "words", "--hash", hash],
                ["droplet", "show", "--guid", "words"],
            ] {
                let gone = try await server.cistern(arguments)
                #expect(gone.status == 1 && gone.errors.contains("words"), "\(gone.errors)")
            }
            #expect(try await Self.json(["droplet", "list", "--guid", "words"]) == ["droplets": []])
        }

        @Test("What made a droplet and whose it is are said with it, and shown")
        func statedDroplet() async throws {
            let server = try SharedServer.world().server
            let file = try await Fixtures.sample("static")
            let source = "sha256:" + String(repeating: "ab", count: 32)
            try await server.cisternSuccessfully([
                "droplet", "upload", "--guid", "stated", "--stack", "tiny", "--org", "Acme Inc.", "--space", "Büro",
                "--buildpack", "ruby@1.10.0=\(source)", "--buildpack", "custom", file,
            ])
            let shown = try await Self.json(["droplet", "show", "--guid", "stated"])
            #expect(shown["org"] == "Acme Inc." && shown["space"] == "Büro")
            #expect(
                shown["buildpacks"] == [
                    ["name": "ruby", "version": "1.10.0", "source": .string(source)], ["name": "custom"],
                ])
            let text = try await server.cisternSuccessfully(["droplet", "show", "--guid", "stated"]).output
            for words in ["Acme Inc.", "Büro", "ruby 1.10.0 \(source)"] { #expect(text.contains(words), "\(text)") }
            for wrong in ["", "@1", "ruby@", "ruby=", "ruby=sha256:ab", "a b", "ruby@1=2=3"] {
                let result = try await server.cistern(["droplet", "upload", "--guid", "x", "--buildpack", wrong, file])
                #expect(result.status == 2 && result.errors.contains("NAME[@VERSION]"), "\(wrong): \(result.errors)")
            }
        }

        @Test("A droplet is refused with the entry's name, a guid with what is wrong about it")
        func badDroplet() async throws {
            let server = try SharedServer.world().server
            let hostile = try await Fixtures.hostile()
            let device = try #require(hostile.first { $0.name == "device-character.tgz" })
            let result = try await server.cistern(["droplet", "upload", "--guid", "bad", device.path])
            #expect(
                result.status == 1 && result.errors.contains("app/null") && result.errors.contains("422"),
                "\(result.errors)")
            let sample = try await Fixtures.sample("static")
            for guid in ["../x", "A B", "", "\u{1B}[31m"] {
                let result = try await server.cistern(["droplet", "upload", "--guid", guid, sample])
                #expect(result.status == 1 && !result.errors.contains("\u{1B}"), "\(result.errors)")
                // An empty one makes another path, which there is not.
                #expect(result.errors.contains(guid.isEmpty ? "404" : "guid"), "\(result.errors)")
            }
        }

        @Test("On a terminal an upload shows how far it is, and clears that away")
        func progress() async throws {
            let server = try SharedServer.world().server
            let cistern = try Programs.path(of: "cistern")
            let file = try await Fixtures.sample("shell")
            // script(1) gives the command a terminal.
            let command = "\(cistern) droplet upload --guid terminal --stack tiny '\(file)'"
            let result = try await run(
                "script", ["--quiet", "--return", "--command", command, "/dev/null"],
                environment: server.commandLineEnvironment())
            #expect(result.status == 0)
            #expect(result.output.contains("uploading terminal [##") && result.output.contains("100%"))
            let last = try #require(result.output.split(separator: "\u{1B}[K").last)
            #expect(
                last.hasPrefix("\(server.address)/cloudfoundry/terminal:"), "the bar is gone when the result is there")
        }

        @Test("A list of more than a page is complete")
        func pages() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("pages")
            let guids = (0..<510).map { "page-\($0)" }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for first in 0..<8 {
                    group.addTask {
                        for index in stride(from: first, to: guids.count, by: 8) {
                            try await world.upload(droplet, guid: guids[index])
                        }
                    }
                }
                try await group.waitForAll()
            }
            let list = try await Self.json(["droplet", "list"])["droplets"]?.array ?? []
            let listed = list.compactMap { $0["guid"]?.string }.filter { $0.hasPrefix("page-") }
            #expect(listed.count == guids.count && Set(listed) == Set(guids))
        }
    }
}
