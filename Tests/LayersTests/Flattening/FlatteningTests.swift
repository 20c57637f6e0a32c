import Archive
import Layers
import OCI
import Testing

@Suite("An image's layers as one root filesystem")
struct FlatteningTests {
    private static func flatten(
        _ layers: [MemoryLayer], settings: LayerSettings = LayerSettings(), sink: MemorySink = MemorySink()
    ) async throws -> (tar: [UInt8], converted: ConvertedRootfs<Digest>) {
        let converted = try await convertRootfs(layers: layers, settings: settings, sink: sink)
        return (try decompressed(sink.bytes(converted.layer.stored)), converted)
    }

    private static func layer(_ fill: (inout HandMadeTar) -> Void) -> MemoryLayer {
        MemoryLayer(HandMadeTar.make(fill))
    }

    @Test("are the tree that they make, for random chains", arguments: 0..<20)
    func random(seed: UInt64) async throws {
        var random = SplitMix(state: seed &* 104_729)
        var tree = SampleTree()
        tree.shake(40, &random)
        var chain = [MemoryLayer(tree.tar(&random))]
        for _ in 0..<4 {
            tree.shake(12, &random)
            let whole = MemoryLayer(tree.tar(&random))
            chain.append(try await MadeDelta(from: chain, to: [whole]).layer)
            let flat = try await Self.flatten(chain)
            #expect(try SampleTree(layers: [flat.tar]).seen == tree.seen, "\(seed)")
            #expect(Digest.of(flat.tar) == flat.converted.layer.diffID)
        }
    }

    @Test("keep owners, setuid bits, file capabilities and hard links, and drop devices, noted as a tar's are")
    func kept() async throws {
        let base = Self.layer { tar in
            tar.directory("dev/")
            tar.add(HandMadeTar.Header("dev/null", type: "3"))
            tar.hardLink("dev/zero", to: "dev/null")
            tar.file("dev/kept", "x")
            tar.file("old", "gone")
            tar.directory("opaque/")
            tar.file("opaque/old", "gone")
            tar.directory("home/")
            tar.directory("home/vcap/")
        }
        let top = Self.layer { tar in
            var sudo = HandMadeTar.Header("bin/sudo")
            sudo.mode = "0004755"
            tar.add(sudo, content: [1])
            tar.hardLink("bin/sudoedit", to: "bin/sudo")
            tar.pax([("SCHILY.xattr.security.capability", "\u{1}cap"), ("SCHILY.xattr.user.x", "y")])
            tar.file("bin/ping", "ping")
            tar.file(".wh.old")
            tar.file("opaque/.wh..wh..opq")
            tar.file("opaque/new", "new")
            tar.add(HandMadeTar.Header("dev/kept", type: "6"))
            tar.file("home/vcap/file", "covered by nothing here")
        }
        let flat = try await Self.flatten([base, top])
        let entries = try entries(of: flat.tar)
        let names = Set(entries.map { String(decoding: $0.name, as: UTF8.self) })
        #expect(
            names == [
                "bin/", "bin/sudo", "bin/sudoedit", "bin/ping", "dev/", "opaque/", "opaque/new", "home/", "home/vcap/",
                "home/vcap/file",
            ])
        #expect(entries.first { $0.name == Array("bin/sudo".utf8) }?.mode == 0o4755)
        #expect(entries.first { $0.name == Array("bin/sudoedit".utf8) }?.kind == .hardLink)
        #expect(
            entries.first { $0.name == Array("bin/ping".utf8) }?.records == [
                TarRecord(key: "SCHILY.xattr.security.capability", value: Array("\u{1}cap".utf8))
            ])
        #expect(flat.converted.summary.notes.totals == [.droppedNode: 3, .droppedAttribute: 1])
    }

    @Test("of which there is one are what they are as a tar, to the byte")
    func one() async throws {
        let tar = RootfsTests.tar
        let sink = MemorySink()
        let plain = try await convertRootfs(Chunks(tar), sink: sink)
        for stored in [tar, try compressed(tar, .gzip), try compressed(tar, .zstd)] {
            let layer = MemoryLayer(stored, diffID: Digest.of(tar))
            let flat = try await Self.flatten([layer], sink: sink)
            #expect(flat.converted.layer.digest == plain.layer.digest)
            #expect(flat.converted.summary.notes == plain.summary.notes)
        }
    }

    @Test("are refused if one is not what it should be, or too much, and nothing is left")
    func refused() async throws {
        let good = Self.layer { $0.file("a", "a") }
        let wrong = MemoryLayer(good.stored, diffID: Digest.of([]))
        var small = LayerSettings()
        small.limits.outputBytes = 3000
        let large = Self.layer { $0.file("b", String(repeating: "b", count: 2000)) }
        let whiteout = Self.layer { $0.file(".wh.a") }
        var huge = HandMadeTar.Header("sparse", type: "0")
        huge.size = "00000000000"
        let bomb = Self.layer { tar in
            tar.pax([("GNU.sparse.major", "0"), ("GNU.sparse.size", "9000000000000000000"), ("GNU.sparse.map", "0,0")])
            tar.add(huge)
        }
        let cases: [([MemoryLayer], LayerSettings, ConversionError.Fault)] = [
            ([wrong], LayerSettings(), .invalid), ([good, wrong], LayerSettings(), .invalid),
            ([wrong, large], LayerSettings(), .invalid), ([whiteout], LayerSettings(), .invalid),
            ([whiteout, good], LayerSettings(), .invalid),
            ([MemoryLayer(Array(good.stored.dropLast(600))), large], LayerSettings(), .invalid),
            ([large, Self.layer { $0.file("c", String(repeating: "c", count: 2000)) }], small, .tooLarge),
            ([good, bomb], LayerSettings(), .tooLarge), ([bomb], LayerSettings(), .tooLarge),
            ([], LayerSettings(), .invalid),
        ]
        for (index, (layers, settings, fault)) in cases.enumerated() {
            let sink = MemorySink()
            do {
                _ = try await Self.flatten(layers, settings: settings, sink: sink)
                if !layers.isEmpty { Issue.record("case \(index) was taken") }
            } catch let error as ConversionError {
                #expect(error.fault == fault, "case \(index): \(error)")
                #expect(sink.openWriters == 0 && sink.finishedLayers == 0, "case \(index)")
            }
        }
    }

    @Test(
        "of which the lowest is hostile are refused like a tar that is, alone and below another",
        arguments: [Hostile.names, Hostile.links, Hostile.headers].flatMap { $0 })
    func hostile(_ hostile: Hostile) async throws {
        for layers in [[MemoryLayer(hostile.bytes)], [MemoryLayer(hostile.bytes), Self.layer { $0.file("zz", "z") }]] {
            let sink = MemorySink()
            await #expect(throws: ConversionError.self) { try await convertRootfs(layers: layers, sink: sink) }
            #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
        }
    }

    @Test("leave nothing when the sink fails", arguments: [0, 100_000, 1_000_000] as [Int64])
    func failingSink(bytes: Int64) async throws {
        let noise = SampleDroplet.noise(3_000_000, seed: 5)
        let layers = ["a", "b"].map { name in
            Self.layer { $0.add(HandMadeTar.Header(name), content: noise) }
        }
        let sink = MemorySink(failsAfter: bytes)
        await #expect(throws: MemorySink.Full.self) { try await convertRootfs(layers: layers, sink: sink) }
        #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
    }
}
