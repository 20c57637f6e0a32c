import Archive
import Layers
import OCI
import Testing

@Suite("A delta")
struct DeltaTests {
    private typealias File = SampleTree.File

    private static func file(_ text: String, mode: UInt32 = 0o644) -> File {
        File(content: .file(Array(text.utf8)), mode: mode)
    }
    private static let directory = File(content: .directory)
    private static func link(_ target: String) -> File { File(content: .link(Array(target.utf8)), mode: 0o777) }

    private static func tree(_ change: (inout SampleTree) -> Void = { _ in }) -> SampleTree {
        var tree = SampleTree()
        tree.set("etc", directory)
        tree.set("etc/passwd", file("root"))
        tree.set("etc/ssl", directory)
        tree.set("etc/ssl/a", file("a"))
        tree.set("etc/ssl/b", file("b"))
        tree.set("lib", link("usr/lib"))
        tree.set("usr", directory)
        tree.set("usr/lib", directory)
        tree.set("usr/lib/libssl", file("1"))
        tree.set("usr/bin", directory)
        tree.set("usr/bin/perl", file("perl", mode: 0o755))
        tree.link(Array("usr/bin/perl5".utf8), to: Array("usr/bin/perl".utf8))
        change(&tree)
        return tree
    }

    private static func at(_ name: String) -> [UInt8] { Array(name.utf8) }

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var old: @Sendable (inout SampleTree) -> Void = { _ in }
        let new: @Sendable (inout SampleTree) -> Void
        let listing: [String]
    }

    private static let cases = [
        Case(testDescription: "nothing", new: { _ in }, listing: []),
        Case(
            testDescription: "another content", new: { $0.set("usr/lib/libssl", file("2")) },
            listing: ["usr/ directory 755", "usr/lib/ directory 755", "usr/lib/libssl file 644"]),
        Case(
            testDescription: "a file and a directory gone",
            new: {
                $0.remove(at("etc/ssl"))
                $0.remove(at("usr/lib/libssl"))
            },
            listing: [
                "etc/ directory 755", "etc/.wh.ssl file 644", "usr/ directory 755", "usr/lib/ directory 755",
                "usr/lib/.wh.libssl file 644",
            ]),
        Case(
            testDescription: "something gone at the top", new: { $0.remove(at("lib")) }, listing: [".wh.lib file 644"]),
        Case(
            testDescription: "a directory that became a file", new: { $0.set("etc/ssl", file("x")) },
            listing: ["etc/ directory 755", "etc/ssl file 644"]),
        Case(
            testDescription: "a directory that became a symbolic link", new: { $0.set("etc/ssl", link("/x")) },
            listing: ["etc/ directory 755", "etc/ssl symbolicLink 777"]),
        Case(
            testDescription: "a symbolic link that became a directory",
            new: {
                $0.set("lib", directory)
                $0.set("lib/libssl", file("1"))
            }, listing: ["lib/ directory 755", "lib/libssl file 644"]),
        Case(
            testDescription: "a file that became a directory",
            new: {
                $0.set("etc/passwd", directory)
                $0.set("etc/passwd/empty", directory)
            }, listing: ["etc/ directory 755", "etc/passwd/ directory 755", "etc/passwd/empty/ directory 755"]),
        Case(
            testDescription: "a symbolic link to elsewhere", new: { $0.set("lib", link("lib64")) },
            listing: ["lib symbolicLink 777"]),
        Case(
            testDescription: "a directory's mode", new: { $0.change(at("etc/ssl")) { $0.mode = 0o700 } },
            listing: ["etc/ directory 755", "etc/ssl/ directory 700"]),
        Case(
            testDescription: "a file capability",
            new: { $0.change(at("etc/passwd")) { $0.attribute = [1] } },
            listing: ["etc/ directory 755", "etc/passwd file 644"]),
        Case(
            testDescription: "a change in a hard linked file",
            new: { $0.change(at("usr/bin/perl")) { $0.mode = 0o700 } },
            listing: [
                "usr/ directory 755", "usr/bin/ directory 755", "usr/bin/perl file 700", "usr/bin/perl5 hardLink 700",
            ]),
        Case(
            testDescription: "one more name of a file",
            new: { $0.link(at("usr/bin/pearl"), to: at("usr/bin/perl")) },
            listing: [
                "usr/ directory 755", "usr/bin/ directory 755", "usr/bin/pearl file 755", "usr/bin/perl hardLink 755",
                "usr/bin/perl5 hardLink 755",
            ]),
        Case(
            testDescription: "one name of a file gone", new: { $0.remove(at("usr/bin/perl5")) },
            listing: ["usr/ directory 755", "usr/bin/ directory 755", "usr/bin/.wh.perl5 file 644"]),
        Case(
            testDescription: "two names of one file that are two files now",
            new: { $0.set("usr/bin/perl5", file("perl", mode: 0o755)) },
            listing: ["usr/ directory 755", "usr/bin/ directory 755", "usr/bin/perl5 file 755"]),
        Case(
            testDescription: "two files that are one now",
            old: { $0.set("usr/bin/perl5", file("perl", mode: 0o755)) }, new: { _ in },
            listing: [
                "usr/ directory 755", "usr/bin/ directory 755", "usr/bin/perl file 755", "usr/bin/perl5 hardLink 755",
            ]),
    ]

    @Test("says no more than it must", arguments: cases)
    func listing(_ example: Case) async throws {
        let delta = try await MadeDelta(from: Self.tree(example.old), to: Self.tree(example.new))
        #expect(try delta.listing == example.listing)
        #expect(delta.differences.isEmpty, "\(delta.differences.told)")
    }

    @Test("is the same bytes each time, whatever compression the layers have")
    func golden() async throws {
        var random = SplitMix(state: 1)
        var old = Self.tree()
        var new = Self.tree { tree in
            tree.set("usr/lib/libssl", Self.file("2"))
            tree.set("usr/lib/\u{e9}", Self.link(String(repeating: "x", count: 150)))
            tree.set(Array("usr/lib/".utf8) + [0xff] + [UInt8](repeating: 97, count: 200), Self.file("long"))
            tree.remove(Self.at("etc/ssl"))
            tree.link(Self.at("usr/sbin-perl"), to: Self.at("usr/bin/perl"))
            tree.change(Self.at("etc/passwd")) { $0.time = TarTime(seconds: 1_750_000_000, nanoseconds: 1) }
        }
        old.set("usr/bin/ld", Self.file("ld"))
        new.set("usr/bin/ld", Self.file("new ld"))
        for format in CompressionFormat.allCases {
            let layers = [MemoryLayer(try compressed(old.tar(&random), format))]
            var fixed = SplitMix(state: 2)
            let delta = try await MadeDelta(from: layers, to: [MemoryLayer(try compressed(new.tar(&fixed), format))])
            #expect(delta.differences.isEmpty)
            #expect(
                delta.written.layer.diffID.hex == "c5ce81dc0ab4c52844c906bfda0679f1f1450ab17cea2020107a056b6bf45675")
            #expect(
                delta.written.layer.digest.hex == "7e4ac0b6eee6abe4f1f9af8453ae6116a93ea6bb3d182835a8004b97adee435d")
        }
        let small = try await MadeDelta(from: Self.tree(), to: Self.tree { $0.remove(Self.at("lib")) })
        #expect(small.written.layer.diffID.hex == "e3b6f12bd127212a85ccaacc58ab09e908233feb45cd51623b03ec5c7a608f31")
    }

    @Test("leaves times alone when it is told to, and only then")
    func times() async throws {
        let new = Self.tree { tree in
            for name in ["etc", "etc/passwd", "lib", "usr/bin/perl"] {
                tree.change(Self.at(name)) { $0.time = TarTime(seconds: 5) }
            }
        }
        let ignoring = try await MadeDelta(from: Self.tree(), to: new, DeltaSettings(times: .ignored))
        #expect(try ignoring.listing == [] && ignoring.differences.isEmpty)
        let comparing = try await MadeDelta(from: Self.tree(), to: new)
        #expect(try comparing.listing.count == 7 && comparing.differences.isEmpty)
    }

    @Test("says nothing about what other layers cover, and gives the directories above it as those have them")
    func covered() async throws {
        let settings = DeltaSettings(covered: ["home/vcap", "lifecycle", "usr/bin/launch"])
        let new = Self.tree { tree in
            tree.set("lifecycle", Self.directory)
            tree.set("usr/bin/launch", Self.file("of the rootfs"))
            tree.set("home", File(content: .directory, mode: 0o700, owner: 7))
            tree.set("home/vcap", Self.directory)
            tree.set("home/other", Self.file("x"))
            tree.change(Self.at("usr")) { $0.mode = 0o700 }
        }
        let delta = try await MadeDelta(from: Self.tree(), to: new, settings)
        #expect(try delta.listing == ["home/ directory 755", "home/other file 644"])
        #expect(delta.differences.isEmpty)

        for change in [
            { tree in
                tree.set("home", Self.directory)
                tree.set("home/vcap", Self.directory)
                tree.set("home/vcap/.bashrc", Self.file("x"))
            },
            { tree in tree.set("usr/bin", Self.link("sbin")) },
        ] as [(inout SampleTree) -> Void] {
            await #expect(throws: ConversionError.self) {
                try await MadeDelta(from: Self.tree(), to: Self.tree(change), settings)
            }
        }
    }

    @Test("can hide names as long as any")
    func longNames() async throws {
        var old = SampleTree()
        for length in [251, 252, 255] { old.set([UInt8](repeating: 97, count: length), Self.file("x")) }
        let delta = try await MadeDelta(from: old, to: SampleTree())
        #expect(delta.written.gone == 3 && delta.differences.isEmpty)
        #expect(try SampleTree(layers: [delta.tar]).seen.isEmpty)
    }

    @Test("is applied by GNU tar and a few lines of shell like here", arguments: 0..<6)
    func unpacked(seed: UInt64) async throws {
        let workshop = try Workshop()
        var random = SplitMix(state: seed + 77)
        var tree = Self.tree()
        // No attributes: what file system this runs on is not known.
        func shake(_ count: Int) {
            tree.shake(count, &random)
            for name in tree.names.keys { tree.change(name) { $0.attribute = nil } }
        }
        shake(40)
        let old = tree.tar(&random)
        shake(20)
        let new = tree.tar(&random)
        let delta = try await MadeDelta(from: [MemoryLayer(old)], to: [MemoryLayer(new)])
        try workshop.write(old, to: "old.tar")
        try workshop.write(new, to: "new.tar")
        try workshop.write(try delta.tar, to: "delta.tar")
        try workshop.run(
            """
            mkdir one other
            tar -xpf old.tar --numeric-owner --delay-directory-restore -C one
            tar -tf delta.tar --quoting-style=literal | while IFS= read -r name; do
                last=${name##*/}
                case $last in .wh.*) rm -rf "one/${name%"$last"}${last#.wh.}" ;; esac
            done
            tar -tf delta.tar --quoting-style=literal | while IFS= read -r name; do
                case $name in
                    .wh.* | */.wh.*) ;;
                    */) [ -d "one/${name%/}" ] && [ ! -L "one/${name%/}" ] || rm -f "one/${name%/}" ;;
                    *) rm -rf "one/$name" ;;
                esac
            done
            tar -xpf delta.tar --numeric-owner --delay-directory-restore --exclude='.wh.*' -C one
            tar -xpf new.tar --numeric-owner --delay-directory-restore -C other
            """)
        // The root belongs to no layer.
        try workshop.run("touch -d @0 one other")
        let differences = try TreeListing(workshop.path + "/one")
            .differences(from: try TreeListing(workshop.path + "/other"))
        #expect(differences == [], "\(seed)")
    }
}

@Suite("A chain of layers")
struct LayerChainTests {
    private static func tar(_ fill: (inout HandMadeTar) -> Void) -> MemoryLayer { MemoryLayer(HandMadeTar.make(fill)) }

    private static let base = tar { tar in
        tar.directory("a")
        tar.file("a/x", "1")
        tar.directory("a/b")
        tar.file("a/b/y", "2")
        tar.file("z", "3")
    }

    @Test(
        "has whiteouts applied to the layers below them, wherever in their own layer they stand",
        arguments: [
            (
                tar { $0.file("a/.wh.b") },
                tar {
                    $0.file("a/x", "1"); $0.file("z", "3"); $0.directory("a")
                }
            ),
            (tar { $0.file(".wh.a") }, tar { $0.file("z", "3") }),
            (
                tar {
                    $0.file("a/n", "4"); $0.file(".wh.a"); $0.directory("a")
                },
                tar {
                    $0.directory("a"); $0.file("a/n", "4"); $0.file("z", "3")
                }
            ),
            (
                tar {
                    $0.directory("a"); $0.file("a/n", "4"); $0.file("a/.wh..wh..opq")
                },
                tar {
                    $0.directory("a"); $0.file("a/n", "4"); $0.file("z", "3")
                }
            ),
            (
                tar {
                    $0.file("a/.wh.nothing"); $0.file("no/.wh.where")
                }, base
            ),
            (
                tar {
                    $0.file("a", "5"); $0.file(".wh.z")
                }, tar { $0.file("a", "5") }
            ),
        ])
    func whiteouts(layer: MemoryLayer, flat: MemoryLayer) async throws {
        let delta = try await MadeDelta(from: [Self.base, layer], to: [flat])
        #expect(try delta.listing == [])
    }

    @Test(
        "is refused where readers could differ",
        arguments: [
            (
                "twice",
                tar {
                    $0.file("q"); $0.file("q")
                }
            ),
            ("its layer", tar { $0.hardLink("q", to: "a/x") }),
            ("no directory", tar { $0.file("z/below") }),
            (
                "lies below it",
                tar {
                    $0.file("n/below"); $0.file("n")
                }
            ),
            ("no empty file", tar { $0.file("a/.wh.x", "content") }),
            ("no empty file", tar { $0.directory("a/.wh.x") }),
            ("not one of OCI's", tar { $0.file("a/.wh.") }),
            ("not one of OCI's", tar { $0.file("a/.wh...") }),
            ("not one of OCI's", tar { $0.file("a/.wh..wh.plnk") }),
            ("would delete", tar { $0.file("a/.wh.x/y") }),
            ("device", tar { $0.add(HandMadeTar.Header("d", type: "3")) }),
            ("'..'", tar { $0.file("../up") }),
        ])
    func refused(reason: String, layer: MemoryLayer) async throws {
        let error = await #expect(throws: ConversionError.self) { try await FileTree(reading: [Self.base, layer]) }
        #expect(error.map { "\($0)".contains(reason) } ?? false, "\(String(describing: error))")
    }

    @Test("can't begin with a layer that hides something: a name like that can't be expressed")
    func whiteoutBelow() async throws {
        await #expect(throws: ConversionError.self) {
            try await FileTree(reading: [Self.tar { $0.file("etc/.wh.passwd") }])
        }
    }

    @Test("is bounded in names and layers")
    func bounded() async throws {
        var limits = ConversionLimits()
        limits.entries = 4
        await #expect(throws: ConversionError.self) { try await FileTree(reading: [Self.base], limits: limits) }
        await #expect(throws: ConversionError.self) {
            try await FileTree(reading: [MemoryLayer](repeating: Self.tar { $0.directory("a") }, count: 128))
        }
    }
}
