import Bits
import HTTPTypes
import Identity
import JSON
import OCI
import ObjectStore
import Operations
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Uploads whose clients don't wait", .timeLimit(.minutes(5)))
struct AsyncUploadTests {
    /// The controller, which may be away.
    private final class Controller: BitsListener {
        struct Away: Error {}

        private let state = Mutex((isAway: false, told: [(path: String, message: JSONValue)]()))

        var isAway: Bool {
            get { state.withLock { $0.isAway } }
            set { state.withLock { $0.isAway = newValue } }
        }
        var told: [(path: String, message: JSONValue)] { state.withLock { $0.told } }

        func tell(_ job: BitsJob) async throws {
            try state.withLock { state in
                if state.isAway { throw Away() }
                state.told.append(("\(job.kind)/\(job.guid)", job.message ?? .null))
            }
        }
    }

    /// Lets a world's background work run while a body does.
    private func running(_ world: BitsWorld, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await world.operations.run() }
            group.addTask { await world.uploads.run() }
            try await body()
            world.operations.stop()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    private static func ready(_ bytes: [UInt8]) -> JSONValue {
        var hasher = SHA1Hasher()
        bytes.withUnsafeBytes { hasher.update($0) }
        return [
            "state": "READY",
            "checksums": [
                ["type": "sha1", "value": .string(hasher.finish())],
                ["type": "sha256", "value": .string(Digest.of(bytes).hex)],
            ],
        ]
    }

    @Test("are answered 202 at once; the controller is told what came of them, good or bad")
    func outcomes() async throws {
        let controller = Controller()
        let world = try BitsWorld(listener: controller)
        let zip = try TestZip.bytes(["a": "b"])
        let droplet = SampleDroplet("async")
        let rows: [(path: String, body: [UInt8], told: String)] = [
            ("/packages/good", zip, "packages/good"), ("/packages/bad", Array("no zip".utf8), "packages/bad"),
            ("/buildpacks/good", zip, "buildpacks/good"),
            ("/droplets/app/\(droplet.sha256)", droplet.bytes, "droplets/app"),
        ]
        for row in rows {
            let answer = try await world.send(.put, row.path + "?async=true", body: row.body, as: .operator)
            #expect(answer.status == 202 && answer.json["state"] == "PROCESSING_UPLOAD", "\(row.path)")
        }
        try await running(world) {
            let isTold = try await eventually { controller.told.count == rows.count }
            #expect(isTold)
        }
        let told = Dictionary(uniqueKeysWithValues: controller.told.map { ($0.path, $0.message) })
        for row in rows where row.told != "packages/bad" { #expect(told[row.told] == Self.ready(row.body)) }
        #expect(told["packages/bad"]?["state"] == "FAILED")
        #expect(told["packages/bad"]?["error"]?.string?.contains("zip") == true)
        #expect(try await world.send(.get, "/packages/good").body == zip)
        #expect(try await world.send(.get, "/packages/bad").status == 404)
        #expect(try await world.bits.jobs().isEmpty, "nothing is left to do")
    }

    @Test("A failure is told in at most 500 characters, since the controller takes no more")
    func longReason() async throws {
        let controller = Controller()
        let world = try BitsWorld(listener: controller)
        let zip = try TestZip.bytes(["../" + String(repeating: "\u{e9}", count: 700): ""])
        #expect(try await world.send(.put, "/packages/long?async=true", body: zip).status == 202)
        try await running(world) {
            let isTold = try await eventually { !controller.told.isEmpty }
            #expect(isTold)
        }
        let message = try #require(controller.told.first?.message)
        #expect(message["state"] == "FAILED")
        #expect(message["error"]?.string?.unicodeScalars.count == 500, "\(message)")
    }

    @Test("survive the process: whatever was done of them before it ended, the next one goes on")
    func crash() async throws {
        let memory = MemoryObjectStore()
        let zip = try TestZip.bytes(["a": "b"])
        // The first process answers, and ends before it does anything.
        let first = try BitsWorld(memory: memory)
        #expect(try await first.send(.put, "/packages/one?async=true", body: zip).status == 202)
        // The second one finishes the upload, but does not reach the controller.
        let away = Controller()
        away.isAway = true
        let second = try BitsWorld(memory: memory, listener: away)
        try await running(second) {
            let isFinished = try await eventually { try await second.bits.jobs().contains { $0.outcome != nil } }
            #expect(isFinished)
        }
        #expect(try await second.send(.get, "/packages/one").body == zip)
        #expect(away.told.isEmpty)
        let controller = Controller()
        let third = try BitsWorld(memory: memory, listener: controller)
        try await running(third) {
            let isTold = try await eventually { !controller.told.isEmpty }
            #expect(isTold)
        }
        #expect(controller.told.map(\.path) == ["packages/one"])
        #expect(controller.told.first?.message == Self.ready(zip))
        #expect(try await third.bits.jobs().isEmpty)
    }
}
