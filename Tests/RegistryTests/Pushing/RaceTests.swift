import Blobs
import OCI
import ObjectStore
import RegistryTesting
import Testing

@testable import Registry

@Suite("Pushes and deletes at the same moment")
struct RaceTests {
    /// A registry over a store that stops before a call, and does something else first.
    private struct Staged {
        let world: PushWorld
        let store: StagedStore
        let registry: Registry

        init() throws {
            world = try PushWorld()
            store = StagedStore(base: world.memory)
            let blobs = BlobStore(store: store, now: { 1 }, grace: PushWorld.grace)
            registry = Registry(store: store, blobs: blobs, now: { 1 })
        }
    }

    /// The moments at which a manifest that is being deleted is pushed again.
    enum Moment: CaseIterable {
        case beforeMembershipGoes, beforeReferrerGoes, beforeTagIsRead, beforeTagGoes, beforeSync

        func isNow(_ call: Calls.Call) -> Bool {
            switch self {
            case .beforeMembershipGoes: call.operation == .delete && call.key?.contains("/_manifests/") == true
            case .beforeReferrerGoes: call.operation == .delete && call.key?.contains("/_referrers/") == true
            case .beforeTagIsRead: call.operation == .list
            case .beforeTagGoes: call.operation == .delete && call.key?.contains("/_tags/") == true
            case .beforeSync: call.operation == .sync
            }
        }
    }

    @Test(
        "a manifest pushed while it is deleted is there with its tag and as a referrer, or not at all",
        arguments: Moment.allCases)
    func pushedWhileDeleted(moment: Moment) async throws {
        let staged = try Staged()
        let world = staged.world
        let subject = Digest.of([1])
        let manifest = world.manifest([], subject: subject)
        let digest = try await world.put(manifest, "tag")
        staged.store.before(moment.isNow) { _ = try? await world.put(manifest, "tag") }
        try await staged.registry.deleteManifest(world.name, digest)
        #expect(staged.store.hasHappened)
        let isThere = try await world.manifest(digest.description) != nil
        #expect(try await world.tags() == (isThere ? ["tag"] : []))
        #expect(try await world.referrers(of: subject) == (isThere ? [digest] : []))
        #expect(isThere == (moment != .beforeMembershipGoes), "what came after the delete took effect stays")
    }

    @Test("a tag that moves away while its manifest is deleted stays where it went", arguments: Moment.allCases)
    func movedWhileDeleted(moment: Moment) async throws {
        let staged = try Staged()
        let world = staged.world
        let subject = Digest.of([1])
        let (old, new) = (world.manifest([], subject: subject), world.manifest([], note: "new"))
        let digest = try await world.put(old, "tag")
        staged.store.before(moment.isNow) { _ = try? await world.put(new, "tag") }
        try await staged.registry.deleteManifest(world.name, digest)
        #expect(staged.store.hasHappened)
        #expect(try await world.manifest("tag") == new)
        #expect(try await world.manifest(digest.description) == nil)
    }

    @Test("the same manifest pushed by many at once is there with everybody's tag")
    func samePushed() async throws {
        let world = try PushWorld()
        let manifest = world.manifest([])
        let tags = (10..<42).map { "t\($0)" }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for tag in tags { group.addTask { try await world.put(manifest, tag) } }
            try await group.waitForAll()
        }
        #expect(try await world.tags() == tags)
        #expect(try await world.contents() == 1, "its bytes are kept once")
    }

    @Test(
        "the same blob pushed by many at once is there, and its bytes are kept once", arguments: Content.allCases)
    func sameBlob(content: Content) async throws {
        let world = try PushWorld()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<32 {
                let name = try RepositoryName(parsing: "r\(number)")
                group.addTask { try await world.push(content.text("the same"), to: name) }
            }
            try await group.waitForAll()
        }
        #expect(try await world.contents() == 1)
    }
}
