import Droplets
import ImagesTesting
import JSON
import OCI
import ObjectStore
import Packages
import Rootfs
import Signatures
import TestSupport
import Testing

@testable import Images

@Suite("Derived referrers")
struct DerivedReferrerTests {
    private static func house(
        store: MemoryObjectStore = MemoryObjectStore(), keys: [SigningKey] = [], launch: String = "launch 1"
    ) async throws -> TestHouse {
        try await TestHouse(store: store, launch: launch, keys: keys)
    }

    private static func filled(keys: [SigningKey] = []) async throws -> (house: TestHouse, droplet: DropletRecord) {
        let house = try await house(keys: keys)
        try await house.importRootfs("1", release: DpkgStatus.debian, [DpkgStatus.file])
        try await house.promote("1")
        return (house, try await house.upload("app", .droplet("hello")))
    }

    private static func walk(_ house: TestHouse, _ listed: [DerivedReferrer]) async throws {
        let guid = try DropletGUID("app")
        #expect(!listed.isEmpty)
        for referrer in listed {
            #expect(try await house.app(guid).referrerContent(referrer.descriptor.digest) == .manifest(referrer))
            let document = try #require(referrer.document)
            #expect(try await house.app(guid).referrerContent(referrer.documentDigest) == .blob(document))
        }
        let empty = Digest.of("{}".utf8)
        #expect(try await house.app(guid).referrerContent(empty) == .blob(Array("{}".utf8)))
    }

    @Test("both families of an image have an SBOM and provenance, and nothing is written for them")
    func both() async throws {
        let (house, droplet) = try await Self.filled()
        let guid = try DropletGUID("app")
        var all: Set<Digest> = []
        for family in MediaTypeFamily.allCases {
            let image = try await house.image("app", droplet.hash, family)
            let keys = try await house.visibleKeys()
            let listed = try await house.app(guid).referrers(of: image.manifestDigest)
            #expect(listed.map(\.descriptor.artifactType) == [.spdx, .inToto])
            try await Self.walk(house, listed)
            #expect(try await house.visibleKeys() == keys)
            all.formUnion(listed.map(\.descriptor.digest))
            #expect(try await house.app(guid).referrers(of: image.configDigest).isEmpty)
            #expect(try await house.app(try DropletGUID("other")).referrers(of: image.manifestDigest).isEmpty)
        }
        #expect(all.count == 4)
    }

    @Test("digests are found after a restart, an upgrade and promotions, without being listed first")
    func restarted() async throws {
        let key = try SigningKey.published()
        let (house, droplet) = try await Self.filled(keys: [key])
        let guid = try DropletGUID("app")
        var listed: [DerivedReferrer] = []
        for version in ["1", "2", "3"] {
            if version != "1" { try await house.importRootfs(version, release: DpkgStatus.debian, [DpkgStatus.file]) }
            try await house.promote(version)
            for family in MediaTypeFamily.allCases {
                let image = try await house.image("app", droplet.hash, family)
                listed += try await house.app(guid).referrers(of: image.manifestDigest)
            }
        }
        #expect(Set(listed.map(\.descriptor.digest)).count == 12)
        for launch in ["launch 1", "launch 2"] {
            let again = try await Self.house(store: house.store, keys: [key], launch: launch)
            try await Self.walk(again, listed)
            for number in 0..<20 {
                #expect(try await again.app(guid).referrerContent(Digest.of("guess \(number)".utf8)) == nil)
            }
        }
    }

    @Test("documents of another app are not found, those of the same droplet in both")
    func others() async throws {
        let (house, droplet) = try await Self.filled()
        let image = try await house.image("app", droplet.hash)
        let listed = try await house.app(try DropletGUID("app")).referrers(of: image.manifestDigest)
        try await house.upload("twin", .droplet("hello"))
        try await house.upload("stranger", .droplet("other"))
        #expect(listed.count == 2)
        for referrer in listed {
            let digest = referrer.documentDigest
            #expect(try await house.app(try DropletGUID("twin")).referrerContent(digest) != nil)
            #expect(try await house.app(try DropletGUID("stranger")).referrerContent(digest) == nil)
            #expect(try await house.app(try DropletGUID("nobody")).referrerContent(digest) == nil)
        }
    }

    @Test("another key gives other envelopes: the old ones are gone unless their key stays, the statement never goes")
    func rotated() async throws {
        let (one, two) = (try SigningKey.published(1), try SigningKey.published(2))
        let (house, droplet) = try await Self.filled(keys: [one])
        let guid = try DropletGUID("app")
        let subject = try await house.image("app", droplet.hash).manifestDigest
        let old = try #require(try await house.app(guid).referrers(of: subject).last)
        let plain = try #require(
            try await Self.house(store: house.store).app(guid).referrers(of: subject).last)

        let rotated = try await Self.house(store: house.store, keys: [two])
        let new = try #require(try await rotated.app(guid).referrers(of: subject).last)
        #expect(new.descriptor.artifactType == .dsse && new != old)
        #expect(try await rotated.app(guid).referrerContent(old.documentDigest) == nil)
        let both = try await Self.house(store: house.store, keys: [two, one])
        #expect(try await both.app(guid).referrers(of: subject).suffix(2) == [new, old])
        for house in [house, rotated, both, try await Self.house(store: house.store)] {
            #expect(try await house.app(guid).referrerContent(plain.descriptor.digest) == .manifest(plain))
        }
    }

    @Test("where packages are not recorded there is provenance and no SBOM, until the file is imported again")
    func unrecorded() async throws {
        let (house, droplet) = try await Self.filled()
        let guid = try DropletGUID("app")
        let image = try await house.image("app", droplet.hash)
        let listed = try await house.app(guid).referrers(of: image.manifestDigest)
        try await house.store.delete(try ObjectKey("rootfs/teststack/1/packages/amd64"), ifVersion: nil)
        let older = try await Self.house(store: house.store)
        let without = try await older.app(guid).referrers(of: image.manifestDigest)
        #expect(without == Array(listed.dropFirst()))
        #expect(try await older.app(guid).referrerContent(listed[0].documentDigest) == nil)
        try await older.importRootfs("1", release: DpkgStatus.debian, [DpkgStatus.file])
        #expect(try await older.app(guid).referrerContent(listed[0].documentDigest) != nil)
        #expect(try await older.app(guid).referrers(of: image.manifestDigest) == listed)
    }

    @Test("a rootfs version's base image has its SBOM, the same document in both families")
    func base() async throws {
        let (house, droplet) = try await Self.filled()
        var documents: Set<Digest> = []
        for family in MediaTypeFamily.allCases {
            let base = try #require(try await house.base("1", .images(family)))
            let listed = try await house.bases().referrers(of: base.digest)
            #expect(listed.map(\.descriptor.artifactType) == [.spdx])
            let referrer = try #require(listed.first)
            documents.insert(referrer.documentDigest)
            let again = try await Self.house(store: house.store)
            for house in [house, again] {
                let manifest = try await house.bases().referrerContent(referrer.descriptor.digest)
                #expect(manifest == .manifest(referrer))
                guard
                    case .blob(let bytes)? = try await house.bases().referrerContent(referrer.documentDigest)
                else {
                    Issue.record("the document is not there")
                    continue
                }
                #expect(Digest.of(bytes) == referrer.documentDigest)
                #expect(try SPDXRules(bytes).problems == [])
                #expect(try JSONValue(parsing: bytes)["packages"]?.array?.count == 5)
                #expect(try await house.bases().referrerContent(Digest.of("guess".utf8)) == nil)
            }
        }
        #expect(documents.count == 1)

        // What images' SBOMs point to is just this document.
        let image = try await house.image("app", droplet.hash)
        let bill = try #require(
            try await house.app(try DropletGUID("app")).referrers(of: image.manifestDigest).first)
        let json = try JSONValue(parsing: try #require(bill.document))
        guard case .blob(let bytes)? = try await house.bases().referrerContent(try #require(documents.first))
        else { return }
        var sha1 = SHA1Hasher()
        bytes.withUnsafeBytes { sha1.update($0) }
        let other = json["externalDocumentRefs"]?.array?.first
        #expect(other?["checksum"]?["checksumValue"]?.string == sha1.finish())
        #expect(other?["spdxDocument"] == (try JSONValue(parsing: bytes)["documentNamespace"]))
    }

    @Test("one damaged package list hides no other document")
    func damaged() async throws {
        let (house, droplet) = try await Self.filled()
        let guid = try DropletGUID("app")
        try await house.importRootfs("2", release: DpkgStatus.debian, [DpkgStatus.file])
        try await house.promote("2")
        let second = try await house.image("app", droplet.hash)
        let listed = try await house.app(guid).referrers(of: second.manifestDigest)
        _ = try await house.image("app", droplet.hash + "-1")
        try await house.store.put(
            try ObjectKey("rootfs/teststack/1/packages/amd64"), Array("{".utf8), if: .always)
        try await Self.walk(try await Self.house(store: house.store), listed)
    }

    @Test(
        "a droplet says which buildpacks staged it, and only words are taken",
        arguments: [
            ([("deps/0/config.yml", "---\nname: nodejs\nconfig: {}\nversion: '1.8.24'\n")], ["nodejs 1.8.24"]),
            (
                [("deps/0/config.yml", "name: apt\n"), ("deps/1/config.yml", "name: \"ruby\"\nversion: 1.10.0\n")],
                ["apt ", "ruby 1.10.0"]
            ),
            ([("staging_info.yml", #"{"detected_buildpack":"python"}"#)], ["python "]),
            ([("staging_info.yml", #"{"detected_buildpack":"two words"}"#)], []),
            ([("staging_info.yml", "detected_buildpack: [")], []),
            ([("deps/0/config.yml", "name: ev\u{0}il\n")], []),
            ([("deps/0/config.yml", "config:\n  name: inner\n")], []),
            ([("deps/0/config.yml", "name: " + String(repeating: "x", count: 70_000))], []),
        ] as [([(String, String)], [String])])
    func buildpacks(_ files: [(String, String)], _ expected: [String]) async throws {
        try await Self.check(files.map { .file("./" + $0.0, $0.1) }, expected)
    }

    @Test("a buildpack's name is read through a hard link, too")
    func hardLinked() async throws {
        try await Self.check(
            [.file("./deps/0/config.yml", "name: apt"), .hardLink("./deps/1/config.yml", to: "./deps/0/config.yml")],
            ["apt ", "apt "])
    }

    private static func check(_ files: [TestTar.Entry], _ expected: [String]) async throws {
        let (house, _) = try await Self.filled()
        let tar = TestTar(
            [.directory("./app"), .file("./app/x", "x")] + files)
        let droplet = try await house.upload("staged", tar)
        #expect(droplet.content.buildpacks.map { "\($0.name) \($0.version)" } == expected)
        let again = try await Self.house(store: house.store)
        #expect(try await again.droplets.droplets(of: try DropletGUID("staged")) == [droplet])
    }
}
