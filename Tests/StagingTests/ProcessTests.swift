import Foundation
import JSON
import Staging
import TestSupport
import Testing

@Suite("The buildpacks' processes")
struct ProcessTests {
    @Test("What a program leaves running neither holds up the build nor lives on")
    func leftBehind() async throws {
        try await withBuildWorld { world in
            let leaves = "sleep 600 & echo $! > \(world.directory)/$(basename $0).pid; echo Name"
            try await world.write(buildpacks: [
                FakeBuildpack(
                    "b",
                    [
                        "detect": leaves, "compile": leaves,
                        "release": leaves + " >&2; echo 'default_process_types: {}'",
                    ])
            ])
            let start = ContinuousClock.now
            let outcome = try await world.build()
            #expect(outcome.error == nil, "\(outcome.log)")
            #expect(outcome.buildpacks.first?["name"] == "Name")
            #expect(ContinuousClock.now - start < .seconds(60))
            for name in ["detect", "compile", "release"] {
                let text = try String(contentsOfFile: "\(world.directory)/\(name).pid", encoding: .utf8)
                try await waitUntil("\(name)'s process is gone") { !isRunning(text) }
            }
        }
    }

    @Test(
        "Cancelling ends the whole process group, also one that takes no notice",
        arguments: ["", "trap '' TERM; "])
    func cancelled(prefix: String) async throws {
        try await withBuildWorld { world in
            let pid = world.directory + "/pid"
            let compile = "sleep 600 & echo $! > \(pid).new; mv \(pid).new \(pid); while :; do wait; done"
            try await world.write(buildpacks: [
                FakeBuildpack(
                    "b", ["detect": "exit 0", "compile": prefix + compile])
            ])
            var ends: [Int32] = [-1, -1]
            try #require(pipe(&ends) == 0)
            let (readEnd, writeEnd) = (ends[0], ends[1])
            defer { ends.forEach { close($0) } }
            async let outcome = world.build(cancellation: Cancellation(descriptor: readEnd))
            try await waitUntil("compile runs") { FileManager.default.fileExists(atPath: pid) }
            try #require(write(writeEnd, "x", 1) == 1)
            let ended = try await outcome
            #expect(ended.error?.kind == .cancelled)
            #expect(ended.error?.kind.exitCode == 143)
            #expect(ended.result?["failure"]?["phase"] == "compile")
            let text = try String(contentsOfFile: pid, encoding: .utf8)
            try await waitUntil("the process is gone") { !isRunning(text) }
            #expect(try FileManager.default.contentsOfDirectory(atPath: world.work) == [])
            #expect(try FileManager.default.contentsOfDirectory(atPath: world.output) == ["result.json"])
        }
    }
}
