import Archive
import Layers
import OCI
import Testing

@Suite("Archives that people have")
struct PeopleTests {
    /// The tree that the archives here are made of.
    static let tree = """
        mkdir -p app/lib; echo page > app/page; chmod 750 app/page; ln -s page app/link; ln app/page app/hard
        head -c 300000 /dev/urandom > app/lib/random; touch -d 2020-02-02 app/lib
        """

    /// Converts a droplet as an upload does: once more without what later entries replace.
    static func convert(_ bytes: [UInt8]) async throws -> (ConvertedDroplet<Digest>, MemorySink) {
        let sink = MemorySink()
        do {
            return (try await convertDroplet(Chunks(bytes), sink: sink), sink)
        } catch let error as ConversionError where error.fault == .repeatsNames {
            let replaced = try await ReplacedEntries(in: Chunks(bytes), limits: ConversionLimits())
            return (try await convertDroplet(Chunks(bytes), replaced: replaced, sink: sink), sink)
        }
    }

    @Test(
        "unpack to what GNU tar makes of them",
        arguments: [
            "bsdtar -czf - app | cat > ../droplet", "bsdtar --zstd -cf - app | cat > ../droplet",
            "bsdtar -b 2048 -czf - app | cat > ../droplet", "tar -cf - app | zstd -q --long=27 -o ../droplet",
            "tar -cf - app | zstd -q --ultra -20 -o ../droplet", "tar -cf ../droplet app app/page app/link",
            "tar -cf ../droplet ./app app/page", "tar --hard-dereference -cf ../droplet app/lib app/lib/random",
            "bsdtar -cf ../droplet app app/lib/random",
            "tar -cf ../droplet app; echo newer > app/lib/random; tar -rf ../droplet app/lib/random",
            "tar -cf ../droplet app; ln -sfn lib app/link; tar -rf ../droplet app/link; ln -sfn .. app/link; tar -rf ../droplet ./app/link",
            "tar -cf ../droplet app; rm app/link; echo file > app/link; tar -rf ../droplet app/link",
            "tar -V label -cf ../droplet app", "tar --format=posix -V label -cf ../droplet app",
            "tar --listed-incremental=../s -cf ../droplet app",
            "tar --format=posix --listed-incremental=../s -cf ../droplet app",
            "tar -cf - app | head -c -$((20 * 512)) > ../x; tar -b 1 -cf ../y app; head -c -1024 ../y > ../droplet",
            "tar -b 1 -cf ../y app; head -c -512 ../y > ../droplet",
            """
            tar -cf ../droplet app; python3 -c 'import tarfile
            open("app/lib/random", "w").write("newest")
            t = tarfile.open("../droplet", "a"); t.add("app/lib/random"); t.close()'
            """,
        ])
    func taken(_ script: String) async throws {
        let shop = try Workshop()
        try shop.run("mkdir tree; cd tree\n" + Self.tree + "\n" + script)
        let (converted, sink) = try await Self.convert(try shop.read("droplet"))
        try shop.write(try decompressed(sink.bytes(converted.layers[0].stored)), to: "layer.tar")
        try shop.run(
            """
            mkdir plain layer; case $(head -c 4 droplet | od -An -tx1) in
            *28*b5*) zstd -q -d --stdout droplet > tar || test -s tar;; *1f*8b*) gzip -dc droplet > tar;; *) cp droplet tar;;
            esac; \(AwkwardTests.unpack) tar -C plain; \(AwkwardTests.unpack) layer.tar -C layer
            """)
        var plain = try TreeListing(shop.path + "/plain").asDroplet()
        var layer = try TreeListing(shop.path + "/layer").below("home/vcap")
        // The archives have no entry for their root.
        plain.nodes[[]] = nil
        layer.nodes[[]] = nil
        // Where it has no entry, or comes late, GNU tar leaves it the time of unpacking.
        for field in [\TreeListing.Node.seconds, \.nanoseconds] {
            plain.nodes[Array("app".utf8)]?[keyPath: field] = 0
            layer.nodes[Array("app".utf8)]?[keyPath: field] = 0
        }
        #expect(layer.differences(from: plain) == [])
        #expect(sink.openWriters == 0)
    }

    @Test("in which a hard link leads to a file that a later one replaces are refused")
    func replacedTarget() async throws {
        let tar = HandMadeTar.make { tar in
            tar.file("a", "old")
            tar.hardLink("b", to: "a")
            tar.file("a", "new")
        }
        let error = await #expect(throws: ConversionError.self) { _ = try await Self.convert(tar) }
        #expect(error?.fault == .invalid && error?.entry == "b")
        #expect(error?.reason.contains("replaced") == true)
    }

    @Test("in which a directory takes a file's place, or the reverse, are refused")
    func otherKinds() async throws {
        for (one, other) in [("a", "a/"), ("a/", "a")] {
            let tar = HandMadeTar.make { tar in
                for name in [one, other, "b", "b"] { name == "a/" ? tar.directory(name) : tar.file(name) }
            }
            let error = await #expect(throws: ConversionError.self) { _ = try await Self.convert(tar) }
            #expect(error?.fault == .invalid && error?.reason.contains("twice") == true)
        }
    }

    @Test("that are none are called what they are")
    func called() async throws {
        let shop = try Workshop()
        try shop.run(
            """
            echo x > a; tar -cf tar a; gzip -k tar; gzip -c tar.gz > twice; xz -k tar; bzip2 -k tar; zip -q zip a
            printf '\\357\\273\\277 <!DOCTYPE HTML><title>Sign in</title>' > page; head -c 2000 /dev/urandom > noise; : > nothing
            """)
        for (file, words) in [
            (
                "twice",
                "like a gzip stream, after it was decompressed once: a tar archive is taken, as it is or compressed once"
            ),
            ("tar.xz", "like an xz stream: a tar archive is taken"),
            ("tar.bz2", "like a bzip2 stream: a tar archive is taken, as it is or compressed once with gzip or zstd"),
            ("zip.zip", "like a zip:"), ("page", "like an HTML page"), ("noise", "no tar archive, or is damaged"),
            ("nothing", "it is empty"),
        ] {
            let bytes = try shop.read(file)
            let error = await #expect(throws: ConversionError.self, "\(file)") {
                try await convertDroplet(Chunks(bytes), sink: MemorySink())
            }
            #expect(
                error?.fault == .invalid && error?.reason.contains(words) == true, "\(file): \(error?.reason ?? "")")
        }
    }
}

@Suite("Root filesystems compressed with xz and bzip2")
struct RareCompressionTests {
    private static func settings(_ memory: CountedMemory? = nil) -> LayerSettings {
        var settings = LayerSettings()
        settings.limits.compressions = .all
        settings.limits.memory = memory?.memory
        return settings
    }

    @Test(
        "are the same layers as without, and are refused where they are damaged",
        arguments: [
            "xz -c tar", "xz -9 -c tar", "xz -T2 --block-size=100000 -c tar", "xz --check=sha256 -c tar",
            "bzip2 -c tar",
            "bzip2 -1 -c tar", "split -b 200000 tar; for f in xa?; do bzip2 -c $f; done",
            "split -b 200000 tar; for f in xa?; do xz -c $f; done", "bsdtar -cJf - @tar", "bsdtar -cjf - @tar",
        ])
    func layers(_ script: String) async throws {
        let shop = try Workshop()
        try shop.run(
            "mkdir tree; cd tree\n\(PeopleTests.tree)\ntar -cf ../tar app; cd ..; { \(script); } | cat > packed")
        let (tar, packed) = (try shop.read("tar"), try shop.read("packed"))
        let plain = try await convertRootfs(Chunks(tar), settings: Self.settings(), sink: MemorySink())
        for sizes in [[7], [65_536], [1 << 20]] {
            let converted = try await convertRootfs(
                Chunks(packed, sizes: sizes), settings: Self.settings(), sink: MemorySink())
            #expect(converted.layer.digest == plain.layer.digest)
        }
        let end = try #require(packed.lastIndex { $0 != 0 })
        var flipped = packed
        flipped[packed.count / 2] ^= 0x10
        for wrong in [Array(packed[..<(end - 20)]), flipped, packed[...end] + Array("garbage".utf8)] {
            let sink = MemorySink()
            let error = await #expect(throws: ConversionError.self) {
                try await convertRootfs(Chunks(wrong), settings: Self.settings(), sink: sink)
            }
            #expect(error?.fault == .invalid, "\(error?.reason ?? "")")
            #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
        }
    }

    @Test("take their memory from the budget before they use it", arguments: ["xz -9", "bzip2"])
    func memory(_ program: String) async throws {
        let shop = try Workshop()
        try shop.run("echo x > a; tar -cf tar a; \(program) -c tar > packed")
        let (tar, packed) = (try shop.read("tar"), try shop.read("packed"))
        let (plain, memory) = (CountedMemory(), CountedMemory())
        _ = try await convertRootfs(Chunks(tar), settings: Self.settings(plain), sink: MemorySink())
        _ = try await convertRootfs(Chunks(packed), settings: Self.settings(memory), sink: MemorySink())
        let taken = memory.peak - plain.peak
        #expect(program == "bzip2" ? taken >= 3_700_000 : (64 << 20..<80 << 20).contains(taken))
        let less = CountedMemory(memory.peak - 1)
        let error = await #expect(throws: ConversionError.self) {
            try await convertRootfs(Chunks(packed), settings: Self.settings(less), sink: MemorySink())
        }
        #expect(error?.fault == .noMemory && less.used == 0 && memory.used == 0)
    }

    @Test("that need more memory than any of xz's levels are refused, also where a later block does")
    func tooMuch() async throws {
        let shop = try Workshop()
        try shop.run(
            """
            echo x > a; tar -cf tar a; xz --lzma2=dict=256MiB -c tar > large; split -b 1000 tar
            xz -c xaa > second; for f in xa[b-z]; do xz --lzma2=dict=256MiB -c $f; done >> second
            """)
        for file in ["large", "second"] {
            let bytes = try shop.read(file)
            let error = await #expect(throws: ConversionError.self) {
                try await convertRootfs(Chunks(bytes), settings: Self.settings(), sink: MemorySink())
            }
            #expect(error?.fault == .tooLarge && error?.reason.contains("xz -9") == true, "\(error?.reason ?? "")")
        }
    }
}
