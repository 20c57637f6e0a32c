import Foundation
import Staging
import TestSupport
import Testing

@Suite("Droplets")
struct DropletTests {
    @Test("Equal content gives equal bytes, whenever it was built")
    func equalBytes() async throws {
        try await withBuildWorld { world in
            let script =
                "echo lib > $3/$4/lib; echo made > $1/made; mkdir $1/dir; touch -d @$STAMP $3/$4/lib $1/dir $3/$4"
            try await world.write(
                app: ["index.html": "hi"],
                buildpacks: [FakeBuildpack("b", skipsDetect: true, ["finalize": script, "release": releases])])
            let first = try await world.build(environment: [.init(name: "STAMP", value: "1000000000")])
            let second = try await world.build(environment: [.init(name: "STAMP", value: "1100000000")])
            #expect(first.dropletBytes != nil)
            #expect(first.dropletBytes == second.dropletBytes)
        }
    }

    @Test("Entries are sorted, belong to vcap, and have the app's own times or the constant one")
    func listing() async throws {
        try await withBuildWorld { world in
            let compile = """
                cd $1; echo built > built; chmod 750 built; ln built hard; ln -s /etc/passwd link; mkfifo pipe
                mkdir -m 700 b; echo x > b/x; echo y > b.txt
                """
            try await world.write(
                app: ["index.html": "hi\n"],
                buildpacks: [FakeBuildpack("b", ["detect": "exit 0", "compile": compile, "release": releases])])
            let outcome = try await world.build()
            let lines = outcome.listing.map {
                $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
            }
            let made = "1980-01-01 00:00:01"
            #expect(
                lines == [
                    "drwxr-xr-x 2000/2000 0 \(made) ./",
                    "drwxr-xr-x 2000/2000 0 \(made) ./app/",
                    "drwx------ 2000/2000 0 \(made) ./app/b/",
                    "-rw-r--r-- 2000/2000 2 \(made) ./app/b/x",
                    "-rw-r--r-- 2000/2000 2 \(made) ./app/b.txt",
                    "-rwxr-x--- 2000/2000 6 \(made) ./app/built",
                    "hrwxr-x--- 2000/2000 0 \(made) ./app/hard link to ./app/built",
                    "-rw-r--r-- 2000/2000 3 2020-09-13 12:26:40 ./app/index.html",
                    "lrwxrwxrwx 2000/2000 0 \(made) ./app/link -> /etc/passwd",
                    "drwxr-xr-x 2000/2000 0 \(made) ./deps/",
                    "drwxr-xr-x 2000/2000 0 \(made) ./logs/",
                    "drwxr-xr-x 2000/2000 0 \(made) ./profile.d/",
                    "-rw-r--r-- 2000/2000 57 \(made) ./staging_info.yml",
                    "drwxr-xr-x 2000/2000 0 \(made) ./tmp/",
                ])
            #expect(outcome.log.contains("left out, for it is a device, a pipe or a socket: ./app/pipe"))
        }
    }

    @Test("A file that is larger than the buffer arrives whole")
    func largeFile() async throws {
        try await withBuildWorld { world in
            try await world.write(buildpacks: [
                FakeBuildpack(
                    "b",
                    [
                        "detect": "exit 0",
                        "compile": "head -c 5000001 /dev/urandom > $1/big; sha256sum < $1/big > $1/sum",
                        "release": releases,
                    ])
            ])
            let outcome = try await world.build()
            let sum = try await runSuccessfully("sha256sum", [outcome.droplet + "/app/big"]).output
            #expect(sum.prefix(64) == (outcome.file("app/sum") ?? "").prefix(64))
        }
    }

    @Test("A tree without end is refused")
    func limits() async throws {
        try await withBuildWorld { world in
            try await world.write(buildpacks: [
                FakeBuildpack(
                    "b",
                    [
                        "detect": "exit 0", "compile": "cd $1; for i in 1 2 3 4 5 6 7 8 9; do mkdir d; cd d; done",
                        "release": releases,
                    ])
            ])
            var limits = FileTree.Limits()
            limits.depth = 8
            let outcome = try await world.build(limits: limits)
            #expect(outcome.error?.kind.exitCode == 1)
            #expect(outcome.listing.isEmpty)
            limits.depth = 20
            limits.entries = 5
            #expect(try await world.build(limits: limits).error?.kind.exitCode == 1)
            limits.entries = 50
            #expect(try await world.build(limits: limits).error == nil)
        }
    }
}

@Suite("Unpacking")
struct UnpackerTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let entries: [TestTar.Entry]
        let isTaken: Bool
        var has: [String] = []
    }

    static let rows: [Row] = [
        Row(
            testDescription: "files, directories and links",
            entries: [
                .directory("./d"), .file("./d/f", "x"), .file("deep/er/f", "y"), .symbolicLink("out", to: "/etc"),
                .hardLink("h", to: "./d/f"),
            ], isTaken: true, has: ["d/f", "deep/er/f", "h"]),
        Row(testDescription: "..", entries: [.file("../f", "x")], isTaken: false),
        Row(testDescription: ".. within", entries: [.file("a/../../f", "x")], isTaken: false),
        Row(testDescription: "an absolute name", entries: [.file("/f", "x")], isTaken: false),
        Row(
            testDescription: "below a link",
            entries: [.symbolicLink("l", to: ".."), .file("l/f", "x")], isTaken: false),
        Row(
            testDescription: "a directory over a link",
            entries: [.symbolicLink("l", to: ".."), .directory("l"), .file("l/f", "x")], isTaken: false),
        Row(
            testDescription: "a hard link through a link",
            entries: [.symbolicLink("l", to: "/etc"), .hardLink("h", to: "l/passwd")], isTaken: false),
        Row(testDescription: "a hard link out", entries: [.hardLink("h", to: "../outside")], isTaken: false),
        Row(
            testDescription: "a file over a link does not write through it",
            entries: [.symbolicLink("l", to: "../outside"), .file("l", "x")], isTaken: true, has: ["l"]),
        Row(
            testDescription: "a file over a directory", entries: [.directory("d"), .file("d", "x")], isTaken: false),
        Row(testDescription: "a pipe is left out", entries: [.fifo("p"), .file("f", "x")], isTaken: true, has: ["f"]),
    ]

    @Test("never writes outside the directory", arguments: rows)
    func hostile(_ row: Row) async throws {
        try await withTemporaryDirectory { directory in
            let target = directory + "/target"
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
            try Data("safe".utf8).write(to: URL(fileURLWithPath: directory + "/outside"))
            try Data(TestTar(row.entries).bytes).write(to: URL(fileURLWithPath: directory + "/archive.tar"))
            try await runSuccessfully("gzip", [directory + "/archive.tar"])
            var isTaken = true
            do {
                _ = try DirectoryUnpacker.unpack(directory + "/archive.tar.gz", into: target)
            } catch {
                isTaken = false
            }
            #expect(isTaken == row.isTaken)
            for name in row.has { #expect(FileManager.default.fileExists(atPath: target + "/" + name)) }
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == [
                    "archive.tar.gz", "outside", "target",
                ])
            #expect(try String(contentsOfFile: directory + "/outside", encoding: .utf8) == "safe")
        }
    }

    @Test("has limits for bytes, entries, and how much an archive may grow; a cut archive is refused")
    func limits() async throws {
        try await withTemporaryDirectory { directory in
            let archive = directory + "/archive.tar"
            func attempt(_ bytes: [UInt8], _ limits: FileTree.Limits, ratio: Int64 = 1000) throws -> Bool {
                try Data(bytes).write(to: URL(fileURLWithPath: archive))
                let target = directory + "/target"
                try? FileManager.default.removeItem(atPath: target)
                try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
                return (try? DirectoryUnpacker.unpack(archive, into: target, limits: limits, ratio: ratio)) != nil
            }
            func limits(_ bytes: Int64 = 1 << 20, entries: Int = 10) -> FileTree.Limits {
                var limits = FileTree.Limits()
                (limits.bytes, limits.entries) = (bytes, entries)
                return limits
            }
            let tar = TestTar([.bytes("a", [UInt8](repeating: 7, count: 3000)), .file("b", "x")]).bytes
            let attempts = [
                try attempt(tar, limits()), try attempt(Array(tar.prefix(2000)), limits()),
                try attempt(Array(tar.dropLast(1124)), limits()), try attempt(tar, limits(3000)),
                try attempt(tar, limits(3001)), try attempt(tar, limits(entries: 1)),
            ]
            #expect(attempts == [true, false, false, false, true, false])
        }
    }
}
