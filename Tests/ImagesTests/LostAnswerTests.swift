import Archive
import Blobs
import Droplets
import Images
import ImagesTesting
import Layers
import OCI
import ObjectStore
import Rootfs
import Synchronization
import TestSupport
import Testing

@Suite("Droplets and rootfs versions over a store whose answers are lost")
struct LostAnswerTests {
    enum Path: CaseIterable {
        case droplet, splitDroplet, unsplittableDroplet, dropletAgain, dropletRemoval, rootfs, delta, promotion,
            rollback,
            state, versionRemoval
    }

    /// Loses the answer to one change of the store, counted from when it is armed.
    private final class Loss: Sendable {
        private struct State {
            var number: Int?
            var answer = InstrumentedObjectStore.Answer.lost
            var changes = 0
        }

        private let state = Mutex(State())

        func arm(_ number: Int?, _ answer: InstrumentedObjectStore.Answer = .lost) {
            state.withLock { $0 = State(number: number, answer: answer) }
        }

        var hasHappened: Bool { state.withLock { state in state.number.map { state.changes > $0 } ?? false } }

        func answer(_ operation: ObjectOperation) -> InstrumentedObjectStore.Answer {
            guard [.put, .delete, .writer, .write, .finish, .sync].contains(operation) else { return .given }
            return state.withLock { state in
                defer { state.changes += 1 }
                return state.changes == state.number ? state.answer : .given
            }
        }
    }

    @Test(
        "whatever change it is of: what was acknowledged stays whole, nothing live loses its bytes, and a retry succeeds",
        arguments: Path.allCases, [InstrumentedObjectStore.Answer.lost, .late])
    func everyChange(path: Path, answer: InstrumentedObjectStore.Answer) async throws {
        for isConfirmed in [false, true] {
            var number = 0
            while try await hasLost(number, path, answer, isConfirmed) { number += 1 }
            #expect(number > 1, "changes had their turn")
        }
    }

    /// - Returns: false if there is no change of that number.
    private func hasLost(
        _ number: Int, _ path: Path, _ answer: InstrumentedObjectStore.Answer, _ isConfirmed: Bool
    ) async throws -> Bool {
        let loss = Loss()
        let memory = MemoryObjectStore()
        let losing = InstrumentedObjectStore(memory, loss: { operation, _ in loss.answer(operation) })
        let house = try await TestHouse(
            store: memory, through: isConfirmed ? ConfirmingObjectStore(losing) : losing)
        for version in ["1", "2"] { try await house.importRootfs(version, [Self.noise("content-\(version)")]) }
        for version in ["1", "2"] { try await house.promote(version) }
        let kept = try await house.upload("kept", TestTar([.directory("./app"), Self.noise("./app/kept")]))
        let known = try await house.image("kept", "\(kept.hash)-1")
        if path == .dropletAgain || path == .dropletRemoval { try await Self.act(path, on: house, prepares: true) }

        loss.arm(number, answer)
        try? await Self.act(path, on: house)
        let hasHappened = loss.hasHappened
        loss.arm(nil)
        let what: Comment = "\(path), change \(number)"
        await losing.arrive()
        try await Self.expectWhole(memory, what)
        do { try await Self.act(path, on: house) } catch ImageError.unknownDroplet where path == .dropletRemoval {
        } catch ImageError.unknownVersion where path == .versionRemoval {
        } catch ImageError.unknownStack where path == .versionRemoval {
        } catch ImageError.nothingBefore where path == .rollback {
        }
        try await Self.expectWhole(memory, what)
        // Here, and after a restart.
        for house in [house, try await TestHouse(store: memory)] {
            if path != .versionRemoval {
                #expect(try await house.image("kept", "\(kept.hash)-1").manifestDigest == known.manifestDigest, what)
            }
            for layer in kept.content.layers { #expect(try await house.blobs.find(layer.digest) != nil, what) }
            try await Self.expectDone(path, house, what)
        }
        return hasHappened
    }

    private static let stack = TestHouse.stack

    /// - Parameter prepares: does what must have been done before.
    private static func act(_ path: Path, on house: TestHouse, prepares: Bool = false) async throws {
        let stack = try StackName(stack)
        let (one, two, three) = (try VersionName("1"), try VersionName("2"), "3")
        let tar = TestTar([
            .directory("./app"), noise("./app/new"), .directory("./deps"), .directory("./deps/0"), noise("./deps/0/x"),
        ])
        switch path {
        case .droplet, .dropletAgain: _ = try await house.upload("new", tar)
        case .splitDroplet: _ = try await house.upload("new", tar, mode: .split)
        case .unsplittableDroplet:
            let linked = TestTar([
                .directory("./app"), .directory("./deps"), .directory("./deps/0"), noise("./deps/0/x"),
                .hardLink("./app/x", to: "./deps/0/x"), .file("./app/z", "after"),
            ])
            _ = try await house.upload("new", linked, mode: .split)
        case .dropletRemoval:
            if prepares {
                _ = try await house.upload("new", tar)
            } else {
                let guid = try DropletGUID("new")
                guard let droplet = try await house.droplets.droplets(of: guid).first else { return }
                try await house.droplets.remove(guid, .sha256(droplet.hash))
            }
        case .rootfs: try await house.importRootfs(three, [noise("content-3")])
        case .delta:
            _ = try await house.rootfs.computeDelta(
                DeltaRequest(
                    stack: stack, from: one, to: two, architecture: .amd64, times: .compared, compression: .gzip,
                    by: "x"))
        case .promotion: try await house.promote("1")
        case .rollback:
            if house.rootfs.history(stack)?.current == two {
                try await house.rootfs.rollBack(stack, by: "x", reason: "")
            }
        case .state: _ = try await house.rootfs.setState(stack, one, .deprecated, by: "x", reason: "old")
        case .versionRemoval: try await house.images.remove(stack, one)
        }
    }

    private static func expectDone(_ path: Path, _ house: TestHouse, _ what: Comment) async throws {
        let (stack, one, two) = (try StackName(stack), try VersionName("1"), try VersionName("2"))
        switch path {
        case .droplet, .splitDroplet, .unsplittableDroplet, .dropletAgain:
            let droplet = try #require(try await house.droplets.droplets(of: try DropletGUID("new")).first, what)
            for digest in [droplet.content.digest] + droplet.content.layers.map(\.digest) {
                #expect(try await house.blobs.find(digest) != nil, what)
            }
        case .dropletRemoval:
            #expect(try await house.droplets.droplets(of: try DropletGUID("new")).isEmpty, what)
        case .rootfs: #expect(try house.rootfs.versions(stack).count == 3, what)
        case .delta: #expect(try house.rootfs.deltas(stack, to: two).count == 1, what)
        case .promotion, .rollback: #expect(house.rootfs.history(stack)?.current == one, what)
        case .state: #expect(house.rootfs.availability(stack, one) == .deprecated, what)
        case .versionRemoval: #expect(try house.rootfs.versions(stack).map(\.version) == [two], what)
        }
    }

    /// Every live record has its bytes.
    private static func expectWhole(_ memory: MemoryObjectStore, _ what: Comment) async throws {
        let blobs = BlobStore(store: memory, now: { 0 })
        var walk = BlobWalk(in: memory)
        while let digests = try await walk.next() {
            for digest in digests {
                let condition = try await blobs.check(digest, in: memory) { _ in }
                if case .damaged(let reason) = condition { Issue.record("\(what): \(digest) is damaged: \(reason)") }
            }
        }
    }

    /// A file that no record can hold, and no compression makes small enough for one.
    private static func noise(_ name: String) -> TestTar.Entry {
        var random = SeededRandom(seed: UInt64(name.utf8.reduce(7) { $0 &* 31 &+ Int($1) }.magnitude))
        return .bytes(name, (0..<6000).map { _ in UInt8.random(in: 0...255, using: &random) })
    }
}
