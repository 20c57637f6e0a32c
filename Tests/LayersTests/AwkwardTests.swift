import Archive
import Foundation
import Layers
import OCI
import Testing

/// Who makes a tar, in which of its formats.
struct Maker: Sendable, CustomTestStringConvertible {
    let name: String
    let script: String
    /// Whether the format holds names of 300 bytes, times before 1970 and the like.
    var isModern = true

    var testDescription: String { name }

    static let all: [Maker] =
        ["v7", "ustar", "oldgnu", "gnu", "posix"].map { format in
            Maker(
                name: "GNU tar \(format)", script: "tar --format=\(format) -cf ../droplet.tar .",
                isModern: format != "v7" && format != "ustar")
        }
        + ["--format=gnu --sparse", "--format=oldgnu --sparse"].map {
            Maker(name: "GNU tar \($0)", script: "tar \($0) -cf ../droplet.tar .")
        }
        + ["0.0", "0.1", "1.0"].map {
            Maker(
                name: "GNU tar posix, sparse \($0)",
                script: "tar --format=posix --sparse --sparse-version=\($0) -cf ../droplet.tar .")
        }
        + ["v7tar", "ustar", "gnutar", "pax", "restricted"].map { format in
            let option = format == "restricted" ? "" : "--format=\(format)"
            return Maker(
                name: "bsdtar \(format)", script: "bsdtar \(option) -cf ../droplet.tar .",
                isModern: format != "v7tar" && format != "ustar")
        }
        + ["USTAR", "GNU", "PAX"].map { format in
            Maker(
                name: "Python \(format)",
                script: """
                    python3 -c 'import tarfile
                    t = tarfile.open("../droplet.tar", "w", format=tarfile.\(format)_FORMAT)
                    t.add("."); t.close()'
                    """, isModern: format != "USTAR")
        }
        + ["--format=gnu --xattrs", "--format=posix --pax-option=mtime:=1700000000.5,comment=hi"].map {
            Maker(name: "GNU tar \($0)", script: "tar \($0) -cf ../droplet.tar .")
        }
}

@Suite("Droplets made by real tools")
struct AwkwardTests {
    /// A tree with what is awkward; names that old formats can't hold only in modern ones.
    static func tree(isModern: Bool) -> String {
        """
        mkdir -p tree; cd tree; mkdir -p app/empty 'app/with space' profile.d logs tmp
        for i in 0 1 2 3 4 5 6 7 8 9 10 11; do mkdir -p deps/$i/bin; echo $i > deps/$i/bin/tool; done
        printf hello > app/hello; chmod 640 app/hello; : > app/nothing; chmod 755 app/nothing
        ln -s ../hello app/link; ln -s /nowhere/at/all app/dangling; ln app/hello app/empty/hard; ln -P app/link app/hardsymlink
        ln -s "$(printf 'x%.0s' {1..99})" app/longlink
        head -c 700000 /dev/urandom > app/random; head -c 512 /dev/zero > app/block; head -c 513 /dev/zero > app/block1
        printf 'x' > $'app/latin\\xe9'; printf 'y' > app/'ünï'; printf 'back' > 'app/back\\slash'
        truncate -s 3M app/holes; printf data | dd of=app/holes bs=1 seek=1500000 conv=notrunc status=none
        truncate -s 100K app/onlyhole
        python3 -c 'f = open("app/many", "wb")
        for i in range(120): f.seek(i * 65536); f.write(bytes([i]) * 4096)
        f.truncate(120 * 65536)'
        chmod 1777 tmp; chmod 700 logs
        touch -d '2024-05-06 07:08:09.123456789' app/hello app/empty; touch -d '2001-01-01 00:00:00.5' deps/3
        touch -h -d '2010-10-10 10:10:10.987654321' app/link
        """
            + (isModern
                ? """

                d=app/$(printf 'd%.0s' {1..180}); mkdir $d; f=$d/$(printf 'f%.0s' {1..110}); echo long > $f
                ln $f app/hardlong; ln -s "$(printf 'l%.0s' {1..300})" app/verylonglink
                ln $f $d/$(printf 'h%.0s' {1..110})
                printf z > $(printf 'app/\\xff%.0s' {1..1})$(printf 'n%.0s' {1..150})
                touch -d '1960-02-03 04:05:06' app/nothing; touch -d '2300-01-01' app/block

                """ : "\n") + "cd .."
    }

    /// bsdtar goes to and fro between directories, so their times may only be set in the end.
    static let unpack = "tar --delay-directory-restore --warning=no-timestamp -xpf"

    @Test("unpack to what GNU tar makes of the droplet itself", arguments: Maker.all)
    func sameTree(_ maker: Maker) async throws {
        let shop = try Workshop()
        try shop.run(Self.tree(isModern: maker.isModern) + "\ncd tree\n" + maker.script)
        let sink = MemorySink()
        let converted = try await convertDroplet(
            Chunks(try compressed(try shop.read("droplet.tar"), .gzip)), sink: sink)
        let layer = try #require(converted.layers.first)
        let tar = try decompressed(sink.bytes(layer.stored))
        #expect(Digest.of(tar) == layer.diffID)
        #expect(Int64(tar.count) == layer.uncompressedSize)
        try shop.write(tar, to: "layer.tar")
        try shop.run(
            """
            mkdir plain layer; \(Self.unpack) droplet.tar -C plain
            \(Self.unpack) layer.tar -C layer
            """)
        let plain = try TreeListing(shop.path + "/plain").asDroplet()
        let unpacked = try TreeListing(shop.path + "/layer")
        #expect(unpacked.below("home/vcap").differences(from: plain) == [])
        let home = try #require(unpacked.nodes[Array("home".utf8)])
        #expect(home.mode == 0o755 && home.owner == [0, 0] && home.seconds == 0)
        #expect(unpacked.nodes.count == plain.nodes.count + 2)
    }

    @Test("split into layers that together unpack to the same tree", arguments: [CompressionFormat.gzip, .zstd, .none])
    func splitTree(_ compression: CompressionFormat) async throws {
        let shop = try Workshop()
        try shop.run(
            Self.tree(isModern: true)
                + "\ncd tree; ln deps/4/bin/tool deps/4/hard; ln -s ../../app deps/5/app; tar --format=posix -cf ../droplet.tar ."
        )
        let sink = MemorySink()
        let converted = try await convertDroplet(
            Chunks(try shop.read("droplet.tar")), settings: LayerSettings(compression: compression, mode: .split),
            sink: sink)
        #expect(
            converted.layers.map(\.group)
                == (0...11).map { LayerGroup.dependency(index: "\($0)") } + [.rest])
        try shop.run("mkdir plain layer; \(Self.unpack) droplet.tar -C plain")
        for layer in converted.layers {
            let stored = sink.bytes(layer.stored)
            try shop.write(compression == .none ? stored : try decompressed(stored), to: "layer.tar")
            try shop.run("\(Self.unpack) layer.tar -C layer")
        }
        var plain = try TreeListing(shop.path + "/plain").asDroplet()
        for (name, node) in plain.nodes where node.type == S_IFDIR {
            let text = String(decoding: name, as: UTF8.self)
            if text.hasPrefix("deps/") {
                plain.nodes[name]?.seconds = 0
                plain.nodes[name]?.nanoseconds = 0
            }
        }
        let unpacked = try TreeListing(shop.path + "/layer").below("home/vcap")
        #expect(unpacked.differences(from: plain) == [])
    }
}
