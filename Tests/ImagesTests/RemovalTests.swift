import Archive
import Blobs
import Droplets
import ImagesTesting
import Layers
import ObjectStore
import Packages
import Rootfs
import Synchronization
import TestSupport
import Testing

@testable import Images

@Suite("Removing a rootfs version")
struct RemovalTests {
    /// Lets a number of writes pass, and fails the next.
    private final class Fuse: Sendable {
        private let left: Mutex<Int>

        init(_ count: Int) { left = Mutex(count) }

        func check(_ operation: ObjectOperation) throws(ObjectStoreError) {
            guard operation == .delete || operation == .put else { return }
            let isBurnt = left.withLock { left in
                left -= 1
                return left == -1
            }
            if isBurnt { throw .full }
        }
    }

    /// Version 1 with two recipes, a delta from it, and a state; version 2 is current.
    private static func house() async throws -> TestHouse {
        let house = try await TestHouse(deltas: DeltaPolicy(maximumPercent: 1000, maximumLength: 5))
        let (stack, one, two) = (try StackName(TestHouse.stack), try VersionName("1"), try VersionName("2"))
        for version in ["1", "2"] { try await house.importRootfs(version) }
        let hash = try await house.upload("app", .droplet("app")).hash
        _ = try await house.rootfs.computeDelta(
            DeltaRequest(
                stack: stack, from: one, to: two, architecture: .amd64, times: .compared, compression: .gzip, by: "x"))
        for family in [MediaTypeFamily.oci, .docker] { _ = try await house.image("app", "\(hash)-1", family) }
        _ = try await house.rootfs.setState(stack, one, .blocked, by: "x", reason: "no")
        try await house.promote("2")
        return house
    }

    @Test("interrupted anywhere it leaves no recipe without its version; then it goes on", arguments: 0...7)
    func interrupted(writes: Int) async throws {
        let house = try await Self.house()
        let (stack, one) = (try StackName(TestHouse.stack), try VersionName("1"))
        let fuse = Fuse(writes)
        let store = InstrumentedObjectStore(house.store) { (operation, _) throws(ObjectStoreError) in
            try fuse.check(operation)
        }
        let rootfs = try await RootfsCatalog(store: store, blobs: house.blobs, now: { 1 })
        let images = DerivedImages(
            droplets: house.droplets, rootfs: rootfs, recipes: try await RecipeStore(store: store), lifecycle: [:])
        // Two recipes, the delta, the packages, the form, the variant; and what is said of the stack is written.
        let isRemoved = (try? await images.remove(stack, one)) != nil
        #expect(isRemoved == (writes == 7))
        if !isRemoved {
            let keys = try await house.visibleKeys()
            var hasRecipes = false
            for key in keys where key.hasPrefix("recipes/") {
                let recipe = String(decoding: try await house.store.get(try ObjectKey(key)).bytes, as: UTF8.self)
                hasRecipes = hasRecipes || recipe.contains(#""version":"1""#)
            }
            #expect(!hasRecipes || keys.contains("rootfs/\(TestHouse.stack)/1/amd64"))
            #expect(rootfs.availability(stack, one) == .blocked)
            // Here, and after a restart where anything of it is left.
            try await images.remove(stack, one)
        }
        #expect(try await house.visibleKeys().allSatisfy { !$0.contains("/1/") })
        let again = try await TestHouse(store: house.store)
        #expect(try again.rootfs.versions(stack).map(\.version.text) == ["2"])
    }
}

extension RemovalTests {
    /// Holds back the writing of recipes.
    private final class HeldStore: ForwardingObjectStore {
        let base: any ObjectStore
        private let isOpen = Mutex(false)
        private let waiting = Mutex(0)

        init(_ base: any ObjectStore) { self.base = base }

        var isAsked: Bool { waiting.withLock { $0 > 0 } }
        func open() { isOpen.withLock { $0 = true } }

        func put(
            _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
        ) async throws(ObjectStoreError) -> ObjectVersion {
            if key.text.hasPrefix("recipes/") {
                waiting.withLock { $0 += 1 }
                while !isOpen.withLock({ $0 }) { await Task.yield() }
            }
            return try await base.put(key, bytes, if: condition)
        }
    }

    @Test("on a store that takes nothing more a version goes all the same")
    func full() async throws {
        let house = try await TestHouse()
        for version in ["1", "2"] { try await house.importRootfs(version) }
        try await house.promote("2")
        let store = InstrumentedObjectStore(house.store) { (operation, _) throws(ObjectStoreError) in
            if operation == .put { throw .full }
        }
        let rootfs = try await RootfsCatalog(store: store, blobs: house.blobs, now: { 1 })
        let images = DerivedImages(
            droplets: house.droplets, rootfs: rootfs, recipes: try await RecipeStore(store: store), lifecycle: [:])
        let stack = try StackName(TestHouse.stack)
        try await images.remove(stack, try VersionName("1"))
        await #expect(throws: ImageError.self) { try await images.remove(stack, try VersionName("2")) }
        #expect(try await house.visibleKeys().allSatisfy { !$0.contains("/1/") })
        #expect(try await TestHouse(store: house.store).rootfs.versions(stack).map(\.version.text) == ["2"])
    }

    @Test("an image that is asked for while its version goes leaves no recipe without a version")
    func racing() async throws {
        let house = try await TestHouse()
        for version in ["1", "2"] { try await house.importRootfs(version) }
        try await house.promote("2")
        let hash = try await house.upload("app", .droplet("app")).hash
        let store = HeldStore(house.store)
        let again = try await TestHouse(store: house.store, through: store)
        let (stack, one) = (try StackName(TestHouse.stack), try VersionName("1"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try? await again.image("app", "\(hash)-1") }
            while !store.isAsked { await Task.yield() }
            group.addTask { try await again.images.remove(stack, one) }
            for _ in 0..<10_000 { await Task.yield() }
            store.open()
            try await group.waitForAll()
        }
        #expect(try await house.visibleKeys().allSatisfy { !$0.hasPrefix("recipes/") && !$0.contains("/1/") })
        #expect(again.images.recipes.recipes(stack, .amd64).isEmpty)
    }
}
