import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("cistern rootfs packages and diff", .serialized, .emptyServer)
    struct PackageCommandTests {
        @Test("What one version has that another has not, as a table and as JSON")
        func diff() async throws {
            let server = try SharedServer.world().server
            try await withTemporaryDirectory { directory in
                let first = [("stays", "1"), ("goes", "1"), ("openssl", "3.0.15-1~deb12u1"), ("down", "2")]
                let second = [("stays", "1"), ("comes", "1"), ("openssl", "3.0.16-1~deb12u1"), ("down", "1")]
                for (version, packages) in [("1", first), ("2", second)] {
                    let status = packages.map { RootfsFolder.stanza($0.0, $0.1) }.joined()
                    try await RootfsFolder(directory + "/" + version, status: status)
                        .importAs(version, of: "words", server)
                }
            }
            let table = try await server.cisternSuccessfully(["rootfs", "diff", "1", "2", "--stack", "words"]).output
            let rows = table.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(
                rows == [
                    ["CHANGE", "PACKAGE", "ARCH", "1", "2"], ["added", "comes", "amd64", "-", "1"],
                    ["removed", "goes", "amd64", "1", "-"],
                    ["upgraded", "openssl", "amd64", "3.0.15-1~deb12u1", "3.0.16-1~deb12u1"],
                    ["downgraded", "down", "amd64", "2", "1"],
                    ["1", "added,", "1", "removed,", "1", "upgraded,", "1", "downgraded,", "1", "unchanged"],
                ])
            let json = try await server.cisternSuccessfully(
                ["rootfs", "diff", "1", "2", "--stack", "words", "--json"])
            let answer = try JSONValue(parsing: json.stdout)
            #expect(answer["upgraded"]?.array?.first?["name"] == "openssl" && answer["unchanged"] == 1)
            let same = try await server.cisternSuccessfully(["rootfs", "diff", "1", "1", "--stack", "words"])
            #expect(same.output == "4 unchanged")

            let list = try await server.cisternSuccessfully(["rootfs", "packages", "2", "--stack", "words"]).output
            #expect(list.split(separator: "\n").count == 5 && list.contains("openssl"))
            let missing = try await server.cistern(["rootfs", "diff", "1", "9", "--stack", "words"])
            #expect(missing.status == 1 && missing.errors.contains("no rootfs version 9"), "\(missing.errors)")
            let path = "/api/v1/rootfs/words/2"
            let client = try SharedServer.world().client
            #expect(try await client.get(path + "/diff", as: "operator").status == 400)
            #expect(try await client.get(path + "/diff?from=1&arch=arm64", as: "operator").status == 404)
            #expect(try await client.get(path + "/packages", as: "pull").status == 403)
        }

        @Test("The list is what dpkg itself says, of this machine's own packages")
        func dpkg() async throws {
            let server = try SharedServer.world().server
            let status = try String(contentsOfFile: "/var/lib/dpkg/status", encoding: .utf8)
            try await withTemporaryDirectory { directory in
                try await RootfsFolder(directory + "/own", status: status).importAs("1", of: "own", server)
            }
            let format =
                "${db:Status-Status}|${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\\n"
            let said = try await runSuccessfully("dpkg-query", ["-W", "-f", format]).output
            let present = Set(["installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"])
            let expected = said.split(separator: "\n").map { $0.split(separator: "|") }
                .filter { present.contains(String($0[0])) }.map { String($0[1]) }
            let answer = try await SharedServer.world().client.get(
                "/api/v1/rootfs/own/1/packages", as: "operator"
            ).json
            let listed = (answer["packages"]?.array ?? []).map { package in
                ["name", "version", "architecture", "source", "sourceVersion"].map { package[$0]?.string ?? "" }
                    .joined(separator: " ")
            }
            #expect(expected.count > 100 && Set(listed) == Set(expected) && listed.count == expected.count)
            #expect(answer["skipped"] == 0 && answer["complete"] == true && answer["manager"] == "dpkg")
        }
    }
}
