import Blobs
import Images
import ImagesTesting
import JSON
import Layers
import OCI
import ObjectStore
import Rootfs
import Synchronization
import TestSupport
import Testing

@Suite("A rootfs from an image")
struct ImageArchiveTests {
    private static let base = TestRootfs(more: [
        .directory("opt"), .file("opt/gone", "x"), .file("opt/kept", "x"), .directory("opaque"),
        .file("opaque/gone", "x"),
    ]).tar.bytes
    private static let top = TestTar([
        .file("opt/.wh.gone", ""), .file("opaque/.wh..wh..opq", ""), .file("opaque/new", "x"),
        .program("opt/sudo", [1], mode: 0o4755), .hardLink("opt/sudo2", to: "opt/sudo"),
    ]).bytes
    private static let flat = TestRootfs(more: [
        .directory("opt"), .file("opt/kept", "x"), .directory("opaque"), .file("opaque/new", "x"),
        .program("opt/sudo", [1], mode: 0o4755), .hardLink("opt/sudo2", to: "opt/sudo"),
    ]).tar.bytes

    /// What differs between the imported layers and a tar.
    private static func differences(
        _ version: RootfsVersion, from tar: [UInt8], in house: TestHouse
    ) async throws -> (changed: Int, gone: Int) {
        #expect(version.layers.count == 1)
        let reader = try await house.blobs.open(version.layers[0].digest).reader
        let stored = try await reader.read(at: 0, maximum: 1 << 24)
        let plan = try DeltaPlan(
            from: try await FileTree(reading: [MemoryLayer(stored: stored, diffID: version.layers[0].diffID)]),
            to: try await FileTree(reading: [MemoryLayer(stored: tar, diffID: nil)]), settings: DeltaSettings())
        return (plan.changed, plan.gone)
    }

    @Test("of one layer or of several has the files that its layers make")
    func taken() async throws {
        let house = try await TestHouse()
        for (version, layers, tar) in [("1", [Self.base], Self.base), ("2", [Self.base, Self.top], Self.flat)] {
            var archive = TestArchive()
            let image = archive.addImage(layers)
            let taken = try await house.take(
                archive.layout([image]), version: version, source: RootfsSource(form: .oci, name: "a name"))
            #expect(taken.source == image.digest && taken.system == "Test")
            #expect(taken.origin.kind == .oci && taken.origin.name == "a name" && taken.origin.signedBy == nil)
            let differences = try await Self.differences(taken, from: tar, in: house)
            #expect(differences == (0, 0))
        }
        // The image's own bytes are not kept: a layer, its record, and the version for each.
        let blobs = try await house.allKeys().filter { $0.hasPrefix("blobs/") }
        #expect(blobs.count == 3, "the lifecycle layer and two layers: \(blobs)")
        let objects = try await house.allKeys().filter { $0.hasPrefix("data/") }
        #expect(objects.count <= 3, "nor are they left over: \(objects)")
        let again = try await TestHouse(store: house.store).rootfs.versions(try StackName(TestHouse.stack))
        #expect(again.map(\.origin.kind) == [.oci, .oci], "it is written down")
    }

    private final class Used: Sendable {
        let bytes = Mutex((now: 0, peak: 0))

        func limits(_ bound: Int) -> ConversionLimits {
            var limits = ConversionLimits()
            limits.memory = ArchiveMemory([
                ArchiveMemory.Source { count in
                    self.bytes.withLock { bytes in
                        guard count <= bound - bytes.now else { return false }
                        bytes.now += count
                        bytes.peak = max(bytes.peak, bytes.now)
                        return true
                    }
                } give: { count in
                    self.bytes.withLock { $0.now -= count }
                }
            ])
            return limits
        }
    }

    @Test("takes memory for the files that it keeps before it keeps them, and gives it back")
    func memory() async throws {
        let house = try await TestHouse()
        var archive = TestArchive()
        let image = archive.addImage([Self.base, Self.top])
        let bytes = archive.layout([image])
        let used = Used()
        _ = try await house.take(bytes, limits: used.limits(.max), source: RootfsSource(form: .oci))
        let (now, peak) = used.bytes.withLock { ($0.now, $0.peak) }
        #expect(now == 0 && peak > bytes.count)
        await #expect(throws: ImageError.self) {
            try await house.take(bytes, version: "2", limits: used.limits(peak / 2), source: RootfsSource(form: .oci))
        }
        #expect(used.bytes.withLock { $0.now } == 0)
    }

    @Test("of before, whose record says nothing of where it came from, is read as it was")
    func earlierRecord() async throws {
        let house = try await TestHouse()
        let taken = try await house.importRootfs("1")
        #expect(taken.origin.kind == .tar)
        let key = try ObjectKey("rootfs/\(TestHouse.stack)/1/amd64")
        let object = try await house.store.get(key)
        var members = try #require(try JSONValue(parsing: object.bytes).object)
        for name in ["sourceKind", "sourceName", "signedBy"] { members[name] = nil }
        try await house.store.put(key, JSONValue.object(members).canonicalBytes, if: .always)
        let version = try #require(
            try await TestHouse(store: house.store).rootfs.versions(try StackName(TestHouse.stack)).first)
        #expect(version.source == taken.source && version.layers == taken.layers && version.origin.kind == nil)
    }

    @Test("is the one for the architecture, in indexes within indexes")
    func architecture() async throws {
        let house = try await TestHouse()
        var archive = TestArchive()
        let amd64 = archive.addImage([Self.base])
        let arm64 = archive.addImage(
            [TestRootfs(shell: .program("bin/bash", TestRootfs.elf(machine: 183))).tar.bytes], "arm64")
        let index = archive.addIndex([arm64, archive.addIndex([amd64])])
        let bytes = archive.layout([index])
        let one = try await house.take(bytes, version: "1", source: RootfsSource(form: .oci))
        let other = try await house.take(
            bytes, version: "2", architecture: .arm64, source: RootfsSource(form: .oci, digest: index.digest))
        #expect(one.source == amd64.digest && other.source == arm64.digest)
    }

    @Test("is refused if it is not clear which one is meant, and it says which there are")
    func ambiguous() async throws {
        let house = try await TestHouse()
        let before = try await house.allKeys()
        var archive = TestArchive()
        var one = archive.addImage([Self.base])
        one.annotations["org.opencontainers.image.ref.name"] = "one"
        let two = archive.addImage([Self.base, Self.top])
        let arm64 = archive.addImage([Self.base, Self.base], "arm64")
        let bytes = archive.layout([one, two, arm64])
        let several = try await house.refusal(bytes, RootfsSource(form: .oci))
        for word in ["several", one.digest.hex, "(one)", two.digest.hex, arm64.digest.hex] {
            #expect(several.contains(word), "\(several)")
        }
        let none = try await house.refusal(bytes, RootfsSource(form: .oci, digest: arm64.digest))
        #expect(none.contains("no image \(arm64.digest) for linux/amd64") && none.contains("linux/arm64"), "\(none)")
        #expect(try await house.allKeys() == before)
        let taken = try await house.take(bytes, source: RootfsSource(form: .oci, digest: two.digest))
        #expect(taken.source == two.digest)
        // An index may be named that leads to an image which is there by itself too.
        let index = archive.addIndex([one, arm64])
        let both = archive.layout([one, two, index])
        let named = try await house.take(both, version: "2", source: RootfsSource(form: .oci, digest: index.digest))
        #expect(named.source == one.digest)
    }

    /// What is wrong with an archive, and a word of the refusal.
    enum Fault: CaseIterable, Sendable {
        case blob, largeBlob, size, missingLayer, missingConfig, diffID, count, layerType, noIndex, noLayout, twice
        case outside, device, depth, truncated, type, noImages, notJSON

        var word: String {
            switch self {
            case .blob, .largeBlob: "has other bytes"
            case .size: "bytes, not"
            case .missingLayer: "no layer sha256:"
            case .missingConfig: "has no blobs/sha256/"
            case .diffID: "diffID"
            case .count: "1 layers, and its configuration names 2"
            case .layerType: "foreign"
            case .noIndex: "no index.json"
            case .noLayout: "no oci-layout"
            case .twice: "twice"
            case .outside: "leads out of it"
            case .device: "device"
            case .depth: "nest too deep"
            case .truncated: "truncated"
            case .type: "another type"
            case .noImages: "no image"
            case .notJSON: "index.json"
            }
        }
    }

    @Test("that is broken is refused with the reason and leaves nothing", arguments: Fault.allCases)
    func broken(fault: Fault) async throws {
        let house = try await TestHouse()
        let before = try await house.allKeys()
        var archive = TestArchive()
        let large = TestRootfs(more: [
            .program("noise", (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) })
        ]).tar
        let layer = fault == .largeBlob ? large.bytes : Self.base
        var image = archive.addImage([layer], diffIDs: fault == .diffID ? [Digest.of([])] : nil)
        switch fault {
        case .blob, .largeBlob: archive.damage(Digest.of(layer))
        case .size: image = archive.addImage([layer], sizeOff: 1)
        case .missingLayer: archive.remove(Digest.of(layer))
        case .missingConfig: archive.removeConfigs()
        case .count: image = archive.addImage([layer], diffIDs: [Digest.of(layer), Digest.of(layer)])
        case .layerType:
            image = archive.addImage(
                [layer], type: try MediaType(parsing: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"))
        case .depth: for _ in 0..<6 { image = archive.addIndex([image]) }
        case .type: image.mediaType = .dockerManifest
        default: break
        }
        var bytes = archive.layout(fault == .noImages ? [] : [image], change: fault)
        if fault == .truncated { bytes.removeLast(3000) }
        let refusal = try await house.refusal(bytes, RootfsSource(form: .oci))
        #expect(refusal.contains(fault.word), "\(refusal)")
        #expect(try await house.allKeys() == before)
    }

    @Test("of docker save is taken, links for layers that it has twice included", arguments: [false, true])
    func docker(links: Bool) async throws {
        let house = try await TestHouse()
        let archive = TestArchive.docker([Self.base, Self.top, Self.top], links: links)
        let taken = try await house.take(archive.bytes, source: RootfsSource(form: .docker, name: "image.tar"))
        #expect(taken.source == archive.image && taken.origin.kind == .docker)
        #expect(try await Self.differences(taken, from: Self.flat, in: house) == (0, 0))
    }

    @Test("of docker save that is broken is refused and leaves nothing")
    func brokenDocker() async throws {
        let house = try await TestHouse()
        let before = try await house.allKeys()
        let good = TestArchive.docker([Self.base], links: false)
        let source = RootfsSource(form: .docker)
        for (archive, word) in [
            (TestArchive.docker([Self.base], links: false, diffIDs: [Digest.of([])]), "diffID"),
            (TestArchive.docker([Self.base], links: false, diffIDs: []), "its configuration names 0"),
            (TestArchive.docker([Self.base], links: false, architecture: "arm64"), "linux/arm64 (a:1)"),
            (TestArchive.docker([Self.base], links: false, loop: true), "has no layer"),
        ] {
            let refusal = try await house.refusal(archive.bytes, source)
            #expect(refusal.contains(word), "\(refusal)")
        }
        let other = try await house.refusal(good.bytes, RootfsSource(form: .docker, digest: Digest.of([])))
        #expect(other.contains(good.image.description), "\(other)")
        #expect(try await house.refusal(good.bytes, RootfsSource(form: .oci)).contains("oci-layout"))
        #expect(try await house.allKeys() == before)
    }

    @Test("is held to the limits that a tar has")
    func limits() async throws {
        let house = try await TestHouse()
        let before = try await house.allKeys()
        var archive = TestArchive()
        let bytes = archive.layout([archive.addImage([Self.base, Self.top])])
        for change in [{ $0.outputBytes = 2000 }, { $0.entries = 3 }, { $0.inputBytes = 2000 }]
            as [(inout ConversionLimits) -> Void]
        {
            var limits = ConversionLimits()
            change(&limits)
            await #expect(throws: ImageError.self) {
                try await house.take(bytes, limits: limits, source: RootfsSource(form: .oci))
            }
        }
        #expect(try await house.allKeys() == before)
    }
}
