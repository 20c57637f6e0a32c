import Logging
import ObjectStore
import Synchronization

@testable import ObjectStore

/// Random work on a store whose power is cut, and a look at what is left.
struct PowerLossRound {
    static let taskCount = 3

    let seed: UInt64
    var ignored: Set<SimulatedFileSystem.Flush> = []
    var failsFlushes = false

    enum Failure: Error, CustomStringConvertible {
        case contradiction(String)

        var description: String {
            switch self {
            case .contradiction(let text): text
            }
        }
    }

    /// Runs several power cuts on one disk.
    /// - Throws: `Failure` if something was lost, out of order or only partly there; what the store throws at a start.
    func run(cuts: Int = 3) async throws {
        var random = SeededRandom(seed: seed)
        var disk = SimulatedDisk()
        var state = History.State(objects: [:], counter: 0)
        for cut in 0..<cuts {
            let history = History(tasks: Self.taskCount, from: state)
            disk = try await work(on: disk, history, from: state, &random, generation: cut)
            // Power may fail again while the store recovers.
            while Int.random(in: 0..<3, using: &random) == 0 { disk = await cutRecovery(disk, &random) }
            (disk, state) = try await recover(disk, history, &random)
        }
    }

    private func options(_ random: inout SeededRandom) -> FilesystemObjectStore.Options {
        var options = FilesystemObjectStore.Options()
        options.segmentAge = [.seconds(600), .microseconds(200)].randomElement(using: &random) ?? .zero
        options.segmentBytes = [16 << 10, 64 << 10].randomElement(using: &random) ?? 0
        options.reserveBytes = 0
        options.pendingObjects = 20
        options.pendingBytes = 40_000
        options.flushDelay = Bool.random(using: &random) ? .zero : .seconds(60)
        return options
    }

    private func work(
        on disk: SimulatedDisk, _ history: History, from start: History.State, _ random: inout SeededRandom,
        generation: Int
    ) async throws -> SimulatedDisk {
        var simulation = SimulatedFileSystem.Options(ignored: ignored)
        simulation.cutAt = Int.random(in: 10...(1 << Int.random(in: 5...11, using: &random)), using: &random)
        if failsFlushes { simulation.failedFlushes = (random.next(), 4) }
        let files = SimulatedFileSystem(disk, options: simulation)
        let store: FilesystemObjectStore
        do {
            store = try FilesystemObjectStore(files: files, options: options(&random), logger: .quiet)
        } catch {
            guard files.isCut else { throw error }
            return files.diskAfterPowerCut(&random)
        }
        let seeds = (0..<Self.taskCount).map { _ in random.next() }
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<Self.taskCount {
                group.addTask {
                    var worker = PowerLossWorker(
                        task: task, name: "\(generation)", store: store, files: files, history: history,
                        random: SeededRandom(seed: seeds[task]))
                    await worker.work(operations: 40, startingWith: start)
                }
            }
        }
        if !files.isCut, Int.random(in: 0..<3, using: &random) == 0 {
            let time = history.now()
            do {
                try await store.close()
                history.synced(since: time)
            } catch {
                guard files.isCut || failsFlushes else { throw error }
            }
        }
        return files.diskAfterPowerCut(&random)
    }

    private func cutRecovery(_ disk: SimulatedDisk, _ random: inout SeededRandom) async -> SimulatedDisk {
        let cutAt = Int.random(in: 1...120, using: &random)
        let files = SimulatedFileSystem(disk, options: .init(ignored: ignored, cutAt: cutAt))
        if let store = try? FilesystemObjectStore(files: files, options: options(&random), logger: .quiet) {
            await store.applied()
        }
        return files.diskAfterPowerCut(&random)
    }

    private func recover(
        _ disk: SimulatedDisk, _ history: History, _ random: inout SeededRandom
    ) async throws -> (SimulatedDisk, History.State) {
        let files = SimulatedFileSystem(disk)
        let store = try FilesystemObjectStore(files: files, options: options(&random), logger: .quiet)
        // Before the journal is applied and after: readers must not see the difference.
        let early = try await Self.state(of: store)
        await store.applied()
        let late = try await Self.state(of: store)
        guard early == late else { throw Failure.contradiction("applying the journal changed what readers see") }
        if let contradiction = history.contradiction(late) { throw Failure.contradiction(contradiction) }
        try await store.close()
        let left = try files.names(in: "tmp") + files.names(in: "journal")
        guard left.isEmpty else { throw Failure.contradiction("left in the closed store: \(left)") }
        guard files.openFiles == 0 else { throw Failure.contradiction("\(files.openFiles) files are still open") }
        let after = files.diskAfterPowerCut(&random)
        return (after, late)
    }

    private static func state(of store: FilesystemObjectStore) async throws -> History.State {
        var state = History.State(objects: [:], counter: 0)
        for info in try await store.list(prefix: "", startAfter: nil, limit: .max) {
            let object = try await store.get(info.key)
            guard object.info == info, object.bytes.count == info.size else {
                throw Failure.contradiction("\(info) is listed, \(object.info) is got")
            }
            if info.key.text == "counter" {
                state.counter = Int(String(decoding: object.bytes, as: UTF8.self)) ?? -1
            } else {
                state.objects[info.key.text] = object.bytes
            }
        }
        return state
    }
}

extension SimulatedFileSystem {
    func names(in directory: String) throws -> [String] {
        var names: [String] = []
        try entries(of: directory) { (name, _) in names.append(String(decoding: name, as: UTF8.self)) }
        return names
    }
}
