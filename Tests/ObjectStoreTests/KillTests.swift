import Foundation
import ObjectStore
import Synchronization
import Testing

@Suite("kill -9")
struct KillTests {
    @Test(
        "A process killed at any moment leaves everything acknowledged whole, 200 times over", .timeLimit(.minutes(5)))
    func survives() async throws {
        // In memory: a killed process leaves what it wrote to the kernel, whatever is below.
        try await withTemporaryDirectory(in: "/dev/shm") { directory in
            var random = SeededRandom(seed: 9)
            var acknowledged = 0
            for round in 0..<200 {
                let said = try Self.writeAndKill(
                    directory + "/store", round: round, after: Int.random(in: 0...400, using: &random))
                acknowledged += said.count
                let store = try FilesystemObjectStore(root: directory + "/store", logger: .quiet)
                let problem = try await Self.check(store, round: round, said)
                #expect(problem == nil, "round \(round)")
                try await store.close()
                #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/store/tmp") == [])
                #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/store/journal") == [])
                if round.isMultiple(of: 3) { try FileManager.default.removeItem(atPath: directory + "/store/objects") }
            }
            #expect(acknowledged > 2000)
        }
    }

    /// Runs the writer, kills it once it has said so many bytes, and returns the lines.
    private static func writeAndKill(_ directory: String, round: Int, after count: Int) throws -> [String] {
        let process = Process()
        let here = URL(fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        process.executableURL = here.deletingLastPathComponent().appendingPathComponent("ObjectStoreCrashWriter")
        process.arguments = [directory, String(round)]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        var text = try output.fileHandleForReading.read(upToCount: count) ?? Data()
        kill(process.processIdentifier, SIGKILL)
        text += try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        // The last one may be cut off.
        return lines.dropLast().map(String.init)
    }

    private static func check(_ store: FilesystemObjectStore, round: Int, _ said: [String]) async throws -> String? {
        func content(_ number: Int, _ name: String, _ size: Int) -> [UInt8] {
            Array("\(round) \(number) \(name) ".utf8) + (0..<size).map { UInt8(truncatingIfNeeded: $0 &+ number) }
        }
        var expected: [String: Bool] = [:]
        for line in said.dropFirst() {
            let words = line.split(separator: " ")
            let folder = "r\(round)/\(words[1])"
            switch words[0] {
            case "put": (expected[folder + "/a"], expected[folder + "/b"]) = (true, true)
            case "stream": expected[folder + "/s"] = true
            default: expected[folder + "/a"] = false
            }
        }
        var found: Set<String> = []
        for info in try await store.list(prefix: "r\(round)/", startAfter: nil, limit: .max) {
            let parts = info.key.text.split(separator: "/")
            let number = try #require(Int(parts[1]))
            let whole =
                parts[2] == "s"
                ? (0..<4).flatMap { content(number, "s\($0)", 3000) } : content(number, String(parts[2]), number % 5000)
            if try await store.get(info.key).bytes != whole { return "\(info.key) is not whole" }
            found.insert(info.key.text)
        }
        for (key, isThere) in expected where isThere && !found.contains(key) {
            // Its delete may have been under way.
            let number = try #require(Int(key.split(separator: "/")[1]))
            if key.hasSuffix("/a"), !number.isMultiple(of: 2) { continue }
            return "\(key) was acknowledged and is gone"
        }
        for (key, isThere) in expected where !isThere && found.contains(key) { return "\(key) is back" }
        for key in found where key.hasSuffix("/b") {
            // It was written after the number's a.
            let number = try #require(Int(key.split(separator: "/")[1]))
            if number.isMultiple(of: 2), !found.contains(key.dropLast() + "a") { return "\(key) came before its a" }
        }
        return nil
    }
}
