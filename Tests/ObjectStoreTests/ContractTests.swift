import Logging
import ObjectStore
import ObjectStoreTesting
import Runtime
import Testing

@Suite("The contract that every driver keeps")
struct ContractTests {
    @Test("The memory driver", arguments: ContractCheck.all)
    func memory(_ check: ContractCheck) async throws {
        try await check.verify(on: MemoryObjectStore())
    }

    @Test("A store where reads wait for something far away", arguments: ContractCheck.readers)
    func distant(_ check: ContractCheck) async throws {
        try await check.verify(on: DistantStore(base: MemoryObjectStore()))
    }

    @Test("The filesystem driver", arguments: ContractCheck.all + ContractCheck.folders)
    func filesystem(_ check: ContractCheck) async throws {
        try await withTemporaryDirectory { directory in
            let store = try FilesystemObjectStore(root: directory + "/store", logger: .quiet)
            try await check.verify(on: store)
            try await store.close()
        }
    }

    @Test("The filesystem driver, asked by tasks whose threads may block", arguments: ContractCheck.all)
    func background(_ check: ContractCheck) async throws {
        // A thread for each of a check's tasks: they may wait for one another, and change places at no call.
        let executor = BlockingExecutor(name: "check", threads: 64, givesWay: true)
        try await withTemporaryDirectory { directory in
            let store = try FilesystemObjectStore(root: directory + "/store", logger: .quiet)
            try await withTaskExecutorPreference(executor) { try await check.verify(on: store) }
            try await store.close()
        }
    }
}

/// A store of which several objects are read at the same time.
private struct DistantStore: ForwardingObjectStore {
    let base: any ObjectStore
    var capabilities: ObjectStoreCapabilities { ObjectStoreCapabilities(concurrentReads: 4) }
}
