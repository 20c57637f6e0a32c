import Archive
import Layers
import OCI
import Testing

@Suite("The same droplet gives the same bytes")
struct GoldenTests {
    /// Compressed digests hold for the libraries of Debian 12 on x86-64-v2; diffIDs hold everywhere.
    struct Golden: Sendable {
        let mode: LayerMode
        let compression: CompressionFormat
        var level = CompressionLevel.fast
        let diffIDs: [String]
        let digests: [String]
    }

    static let single = "c3f55817868e5cc11b3eeea2e5b618acee49cd2de190ab431dc55226e344ab04"
    static let split = [
        "4780c96184c6f05274a08f01bb71262ae9ef4dcc18a137817362a6208908fa84",
        "09b2913102f77091c7156c839e7ebe25a22d912115e8d2659b51d4be0ca264cf",
        "1f10bf8ed75795fe91e664157b25f8cce8c67097a5660725ec5609157ad7d708",
    ]

    static let goldens = [
        Golden(
            mode: .single, compression: .gzip, diffIDs: [single],
            digests: ["4976c2b9f75860d7cba2084f30acd15714dd9045f7fd636ff045144ff205bf76"]),
        Golden(
            mode: .single, compression: .zstd, diffIDs: [single],
            digests: ["741c07414235de94188158aa91ec7bd3a5a351a0fb36f3d2147b85864d5f483a"]),
        Golden(mode: .single, compression: .none, diffIDs: [single], digests: [single]),
        Golden(
            mode: .split, compression: .gzip, diffIDs: split,
            digests: [
                "eddf0d8ec16cd341cad1ec868b8b9b6f329d781463af184e2df17ecd7b6d4f75",
                "468cc00200615100b67107f303d2eaafdd8690e23ba0434f02b0135dda06a800",
                "079040f609472e9d619e5a1c63be39153ba82a86a2e4199ff2a1f58da762635f",
            ]),
        Golden(
            mode: .single, compression: .gzip, level: .small, diffIDs: [single],
            digests: ["dbc9064f2ff403b916ac63c90d2bd2453f52eb9c0c5c0e50654a03de8f657760"]),
        Golden(
            mode: .split, compression: .gzip, level: .small, diffIDs: split,
            digests: [
                "b8f33058f3f07a67f2a3a93c1ba702fafe24c0c310b5a74957725da822bbc8af",
                "9e2827cdcc365250b360cb4a9fab9c402e598c86dd0118b513144fdc90c40010",
                "2c0063d18a91f1c7883d796f6d3693b78801e6607e388abcead321ee9f8f52e3",
            ]),
    ]

    @Test("golden diffIDs and digests", arguments: goldens)
    func golden(_ golden: Golden) async throws {
        let converted = try await convertDroplet(
            Chunks(try compressed(SampleDroplet.make(), .gzip)),
            settings: LayerSettings(compression: golden.compression, level: golden.level, mode: golden.mode),
            sink: MemorySink())
        #expect(converted.layers.map(\.diffID.hex) == golden.diffIDs)
        #expect(converted.layers.map(\.digest.hex) == golden.digests)
    }

    @Test(
        "however it is compressed and cut",
        arguments: [[1], [511, 1, 513], [4096, 7], [65_536], [1 << 20], [262_144, 3, 100_000]],
        [CompressionFormat.none, .gzip, .zstd])
    func cut(_ sizes: [Int], _ format: CompressionFormat) async throws {
        // Bytes one at a time are slow without optimisation.
        let droplet = sizes == [1] ? Self.smallDroplet : SampleDroplet.make()
        let (sink, otherSink) = (MemorySink(), MemorySink())
        let reference = try await convertDroplet(Chunks(droplet), settings: LayerSettings(mode: .split), sink: sink)
        let converted = try await convertDroplet(
            Chunks(try compressed(droplet, format), sizes: sizes), settings: LayerSettings(mode: .split),
            sink: otherSink)
        #expect(converted.layers.map(\.diffID) == reference.layers.map(\.diffID))
        #expect(converted.summary.inputCompression == format)
        #expect(converted.layers.count == reference.layers.count)
        for (one, other) in zip(reference.layers, converted.layers) where one.digest != other.digest {
            let (bytes, otherBytes) = (sink.bytes(one.stored), otherSink.bytes(other.stored))
            let place = zip(bytes, otherBytes).enumerated().first { $0.element.0 != $0.element.1 }?.offset
            let found = [bytes, otherBytes].map { bytes in
                (try? decompressed(bytes)).map { "\(bytes.count) bytes of \(Digest.of($0))" } ?? "no gzip"
            }
            Issue.record("\(one.digest) and \(other.digest) of \(one.diffID) differ at \(place ?? -1): \(found)")
        }
    }

    @Test("small layers are of the same tars, and of the same bytes however the droplet is cut")
    func small() async throws {
        var found: [[String]] = []
        for sizes in [[1 << 20], [511, 1, 513], [65_536]] {
            let sink = MemorySink()
            let converted = try await convertDroplet(
                Chunks(SampleDroplet.make(), sizes: sizes), settings: LayerSettings(level: .small, mode: .split),
                sink: sink)
            #expect(converted.layers.map(\.diffID.hex) == Self.split)
            for layer in converted.layers {
                #expect(Digest.of(try decompressed(sink.bytes(layer.stored))) == layer.diffID)
            }
            found.append(converted.layers.map(\.digest.hex))
        }
        #expect(found.allSatisfy { $0 == found[0] })
    }

    static let smallDroplet = HandMadeTar.make { tar in
        tar.directory("app")
        tar.add(HandMadeTar.Header("app/a"), content: SampleDroplet.noise(50_000, seed: 9))
        tar.file("deps/0/x", "y")
    }

    @Test("also in random pieces")
    func randomPieces() async throws {
        let droplet = try compressed(SampleDroplet.make(), .gzip)
        var generator = SplitMix(state: 42)
        for _ in 0..<4 {
            let sizes = (0..<50).map { _ in 1 << Int.random(in: 0...20, using: &generator) }
            let converted = try await convertDroplet(Chunks(droplet, sizes: sizes), sink: MemorySink())
            #expect(converted.layers.map(\.digest.hex) == Self.goldens[0].digests)
        }
    }

    @Test("as one gzip member or as several")
    func members() async throws {
        let droplet = SampleDroplet.make()
        let cut = droplet.count / 3
        let parts =
            try compressed(Array(droplet[..<cut]), .gzip) + compressed([], .gzip)
            + compressed(Array(droplet[cut...]), .gzip)
        for sizes in [[1000], [1 << 20]] {
            let converted = try await convertDroplet(Chunks(parts, sizes: sizes), sink: MemorySink())
            #expect(converted.layers.map(\.digest.hex) == Self.goldens[0].digests)
        }
    }

    @Test("and converting a layer's own tar again only moves it deeper")
    func canonical() async throws {
        let sink = MemorySink()
        let first = try await convertRootfs(Chunks(SampleDroplet.make()), sink: sink)
        let tar = try decompressed(sink.bytes(first.layer.stored))
        let second = try await convertRootfs(Chunks(tar), sink: sink)
        #expect(second.layer.diffID == first.layer.diffID)
        #expect(second.layer.digest == first.layer.digest)
    }

    @Test("says which entry is the newest")
    func newest() async throws {
        let tar = HandMadeTar.make { tar in
            tar.file("a")
            tar.pax([("mtime", "1800000000.25")])
            tar.file("b")
            tar.pax([("mtime", "999999999999999")])
            tar.file("c")
        }
        let converted = try await convertDroplet(Chunks(tar), sink: MemorySink())
        #expect(converted.summary.newestEntry == TarTime(seconds: 1_800_000_000, nanoseconds: 250_000_000))
        #expect(converted.summary.entries == 3)
    }
}
