import Blobs
import OCI
import ObjectStore
import RegistryTesting
import TestSupport
import Testing

@testable import Registry

@Suite("A store that fails in the middle of a push")
struct FaultTests {
    private static let errors: [ObjectStoreError] = [.io("the disk"), .full]

    @Test(
        "a blob is there whole or not at all, whichever call fails, and can be pushed again", arguments: errors,
        Content.allCases)
    func blob(error: ObjectStoreError, content: Content) async throws {
        let (text, bytes) = (content.text("some bytes"), content.bytes("some bytes"))
        var number = 0
        while true {
            let world = try PushWorld()
            world.calls.start(failing: number, with: error)
            let outcome = await Result { try await world.push(text) }
            let failed = world.calls.made.count > number ? world.calls.made[number].description : "none"
            world.calls.start()
            #expect(world.uploads.count == 0, "\(failed): no upload is left over")
            let found = try await world.blob(Digest.of(bytes))
            #expect(found == nil || found == bytes, "\(failed)")
            if found == nil, !failed.hasPrefix("delete") {
                let records = try await world.memory.list(prefix: "blobs/", startAfter: nil, limit: 10).count
                #expect(try await world.contents() == records, "\(failed): bytes that nothing names are removed")
            }
            try await world.push(text)
            #expect(try await world.blob(Digest.of(bytes)) == bytes, "\(failed)")
            if case .success = outcome {
                #expect(failed == "none")
                break
            }
            number += 1
        }
        #expect(number > (content == .inObject ? 5 : 3), "every call had its turn")
    }

    @Test("an upload in chunks that the store fails is over, and leaves nothing", arguments: errors)
    func upload(error: ObjectStoreError) async throws {
        for failing in 0..<3 {
            let world = try PushWorld()
            let owner = world.owner()
            let id = try world.uploads.begin(owner, .sha256)
            world.calls.start(failing: failing, with: error)
            await #expect(throws: RegistryError.self) {
                for _ in 1...3 {
                    _ = try await world.uploads.append(id, owner, nil, AsyncElements([Content.inObject.bytes("")]))
                }
                #expect(world.calls.made.count > failing)
            }
            #expect(throws: RegistryError.self) { try world.uploads.received(id, owner) }
            #expect(world.uploads.count == 0)
            #expect(try await world.contents() == 0)
        }
    }

    @Test(
        "a manifest is there whole or not at all, with its tags and as a referrer, whichever call fails",
        arguments: errors)
    func manifest(error: ObjectStoreError) async throws {
        var number = 0
        while true {
            let world = try PushWorld()
            let layer = try await world.push("layer")
            let old = world.manifest([layer], note: "old")
            try await world.put(old, "a")
            let new = world.manifest([layer], subject: layer, note: "new")
            world.calls.start(failing: number, with: error)
            let outcome = await Result { try await world.put(new, "a", tags: ["b", "c"]) }
            let failed = world.calls.made.count > number ? world.calls.made[number].description : "none"
            world.calls.start()
            let tagged = try await world.manifest("a")
            #expect(tagged == old || tagged == new, "\(failed): a tag never points to nothing")
            for tag in try await world.tags() { #expect(try await world.manifest(tag) != nil, "\(failed): \(tag)") }
            for referrer in try await world.referrers(of: layer) {
                #expect(try await world.manifest(referrer.description) == new, "\(failed)")
            }
            let byDigest = try await world.manifest(Digest.of(new).description)
            #expect(byDigest == nil || byDigest == new, "\(failed)")
            try await world.put(new, "a", tags: ["b", "c"])
            #expect(try await world.tags() == ["a", "b", "c"], "\(failed)")
            #expect(try await world.manifest("a") == new)
            #expect(try await world.referrers(of: layer) == [Digest.of(new)])
            if case .success = outcome {
                #expect(failed == "none")
                break
            }
            number += 1
        }
        #expect(number > 8, "every call had its turn")
    }

    @Test("a delete that the store fails can be done again, and then nothing is left", arguments: errors)
    func delete(error: ObjectStoreError) async throws {
        var number = 0
        while true {
            let world = try PushWorld()
            let layer = try await world.push("layer")
            let manifest = world.manifest([layer], subject: layer)
            let digest = try await world.put(manifest, "a", tags: ["b"])
            world.calls.start(failing: number, with: error)
            let outcome = await Result { try await world.registry.deleteManifest(world.name, digest) }
            let failed = world.calls.made.count > number ? world.calls.made[number].description : "none"
            world.calls.start()
            for tag in try await world.tags() { #expect(try await world.manifest(tag) == manifest, "\(failed)") }
            if try await world.manifest(digest.description) != nil {
                try await world.registry.deleteManifest(world.name, digest)
            }
            #expect(try await world.tags() == [], "\(failed)")
            #expect(try await world.referrers(of: layer) == [], "\(failed)")
            try await world.put(manifest, digest.description)
            #expect(try await world.tags() == [], "\(failed): nor do its tags come back")
            if case .success = outcome { break }
            number += 1
        }
        #expect(number > 4)
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
