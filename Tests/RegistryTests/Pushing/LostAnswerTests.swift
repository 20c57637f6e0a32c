import Blobs
import Maintenance
import OCI
import ObjectStore
import RegistryTesting
import TestSupport
import Testing

@testable import Registry

@Suite("A store whose answers are lost")
struct LostAnswerTests {
    /// How the answer to a call is lost.
    enum Loss: CaseIterable {
        /// The call was made.
        case lost
        /// The call was made, and nothing can be read until the request is over.
        case lostForGood
        /// The call is made when the request is over.
        case lateBeforeRetry
        /// The call is made when the client has tried again.
        case lateAfterRetry
    }

    /// What a client or the collector does.
    enum Path: CaseIterable {
        case blob, blobAgain, chunks, mount, manifest, manifestDelete, blobDelete, collection
    }

    @Test(
        "whatever change it is of: what was acknowledged stays whole, nothing live loses its bytes, and a retry succeeds",
        arguments: Path.allCases, Loss.allCases)
    func everyChange(path: Path, loss: Loss) async throws {
        for content in Content.allCases {
            var number = 0
            while try await hasLost(number, path, loss, content) { number += 1 }
            #expect(number > 1, "changes had their turn")
        }
    }

    /// - Returns: false if there is no change of that number.
    private func hasLost(_ number: Int, _ path: Path, _ loss: Loss, _ content: Content) async throws -> Bool {
        let world = try PushWorld()
        let scene = try await Scene(world, path, content)
        world.calls.start(
            losing: number, loss == .lost || loss == .lostForGood ? .lost : .late, blinding: loss == .lostForGood)
        try? await scene.act()
        let hasLost = world.calls.changes > number
        let what: Comment = "\(path), \(loss), \(content), change \(number): \(world.calls.made)"
        world.calls.start()
        if loss == .lateBeforeRetry { await world.store.arrive() }
        try await expectWhole(world, what)
        try await scene.again()
        if loss == .lateAfterRetry { await world.store.arrive() }
        try await expectWhole(world, what)
        try await scene.expectDone(what)
        // Whatever nothing names goes, by collection or verification, and nothing else.
        for _ in 0..<2 {
            world.pass(2 * 3600)
            try await scene.collect()
        }
        let verifier = Verifier(owners: world.owners, blobs: world.blobs, reading: world.memory)
        let report = try await verifier.verify(rate: .max, repair: true)
        #expect(report.damagedCount == 0, what)
        let records = try await world.memory.list(prefix: "blobs/", startAfter: nil, limit: 100).count
        #expect(try await world.contents() == records, what)
        try await scene.expectDone(what)
        return hasLost
    }

    /// Every live record has its bytes.
    private func expectWhole(_ world: PushWorld, _ what: Comment) async throws {
        var walk = BlobWalk(in: world.memory)
        while let digests = try await walk.next() {
            for digest in digests {
                let condition = try await world.blobs.check(digest, in: world.memory) { _ in }
                if case .damaged(let reason) = condition { Issue.record("\(what): \(digest) is damaged: \(reason)") }
            }
        }
    }
}

/// A repository in which something is about to be done.
private struct Scene {
    let world: PushWorld
    let path: LostAnswerTests.Path
    let bytes: [UInt8]
    /// Pushed and acknowledged before, with a manifest that names it.
    let kept: Digest
    let keptBytes: [UInt8]
    let keptManifest: [UInt8]
    let other: RepositoryName

    var digest: Digest { Digest.of(bytes) }
    var manifest: [UInt8] { world.manifest([kept], subject: kept, note: "new") }

    init(_ world: PushWorld, _ path: LostAnswerTests.Path, _ content: Content) async throws {
        self.world = world
        self.path = path
        bytes = content.bytes("new")
        keptBytes = content.bytes("kept")
        other = try RepositoryName(parsing: "other")
        kept = try await world.push(content.text("kept"))
        keptManifest = world.manifest([kept])
        try await world.put(keptManifest, "kept")
        switch path {
        case .blobAgain: _ = try await world.push(String(decoding: bytes, as: UTF8.self))
        case .mount: _ = try await world.push(String(decoding: bytes, as: UTF8.self), to: other)
        case .blobDelete: _ = try await world.push(String(decoding: bytes, as: UTF8.self))
        case .manifestDelete: try await world.put(manifest, "new")
        case .collection:
            _ = try await world.push(String(decoding: bytes, as: UTF8.self))
            world.pass(2 * 3600)
        case .blob, .chunks, .manifest: break
        }
    }

    func act() async throws {
        switch path {
        case .blob, .blobAgain: _ = try await world.push(String(decoding: bytes, as: UTF8.self))
        case .chunks:
            let owner = world.owner()
            let id = try world.uploads.begin(owner, .sha256)
            let middle = bytes.count / 2
            _ = try await world.uploads.append(id, owner, nil, AsyncElements([Array(bytes[..<middle])]))
            _ = try await world.uploads.append(id, owner, nil, AsyncElements([Array(bytes[middle...])]))
            _ = try await world.uploads.finish(id, owner, nil, AsyncElements<[UInt8]>([]), as: digest)
        case .mount: _ = try await world.registry.mount(digest, from: other, to: world.name)
        case .manifest: try await world.put(manifest, "new", tags: ["more"])
        case .manifestDelete: try await world.registry.deleteManifest(world.name, Digest.of(manifest))
        case .blobDelete: try await world.registry.deleteBlob(world.name, digest)
        case .collection: try await collect()
        }
    }

    /// As a client tries again: what is gone already is what a delete wanted.
    func again() async throws {
        do { try await act() } catch RegistryError.unknownManifest where path == .manifestDelete {
        } catch RegistryError.unknownBlob where path == .blobDelete {
        }
    }

    func collect() async throws {
        let collector = GarbageCollector(
            owners: world.owners, blobs: world.blobs, reading: world.store, clockSkew: 0)
        _ = try await collector.collect()
    }

    func expectDone(_ what: Comment) async throws {
        #expect(try await world.blob(kept) == keptBytes, what)
        #expect(try await world.manifest("kept") == keptManifest, what)
        switch path {
        case .blob, .blobAgain, .chunks, .mount:
            #expect(try await world.registry.has(world.name, digest), what)
        case .manifest:
            for tag in ["new", "more"] { #expect(try await world.manifest(tag) == manifest, what) }
            #expect(try await world.referrers(of: kept) == [Digest.of(manifest)], what)
        case .manifestDelete: #expect(try await world.manifest(Digest.of(manifest).description) == nil, what)
        case .blobDelete: #expect(try await world.blob(digest) == nil, what)
        case .collection: break
        }
    }
}
