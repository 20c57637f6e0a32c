import Foundation
import TestSupport
import Testing

@testable import Packages

@Suite("Changes of packages")
struct PackageDiffTests {
    @Test("packages are added, removed, upgraded and downgraded")
    func changes() {
        let one = Self.dpkg(
            DpkgStatus.stanza("stays", "1"), DpkgStatus.stanza("goes", "1"), DpkgStatus.stanza("up", "1.9"),
            DpkgStatus.stanza("down", "1:1"), DpkgStatus.stanza("both", "1"), DpkgStatus.stanza("both", "1", "i386"),
            DpkgStatus.stanza("turns", "1", "all"))
        let two = Self.dpkg(
            DpkgStatus.stanza("stays", "1"), DpkgStatus.stanza("comes", "1"), DpkgStatus.stanza("up", "1.10"),
            DpkgStatus.stanza("down", "2"), DpkgStatus.stanza("both", "2"), DpkgStatus.stanza("both", "1", "i386"),
            DpkgStatus.stanza("turns", "1"))
        let changes = PackageDiff(from: one, to: two)
        #expect(changes.added.map(\.name) == ["comes"] && changes.removed.map(\.name) == ["goes"])
        #expect(
            changes.upgraded.map { "\($0.to.name) \($0.from.version) \($0.to.version)" } == ["both 1 2", "up 1.9 1.10"])
        #expect(changes.downgraded.map(\.to.name) == ["down"])
        #expect(
            changes.changed.map { "\($0.to.name) \($0.from.architecture) \($0.to.architecture)" } == ["turns all amd64"]
        )
        #expect(changes.unchanged == 2 && changes.isComplete)
        let back = PackageDiff(from: two, to: one)
        #expect(back.added == changes.removed && back.removed == changes.added)
        #expect(back.upgraded.map(\.to.name) == ["down"] && back.downgraded.count == 2)
    }

    @Test("another package manager's packages are others")
    func managers() {
        let one = Self.dpkg(DpkgStatus.stanza("zlib", "1"))
        let two = PackageList(files: ["lib/apk/db/installed": Array("P:zlib\nV:1.3-r0\nA:x86_64\n".utf8)])
        let changes = PackageDiff(from: one, to: two)
        #expect(changes.added.map(\.version) == ["1.3-r0"] && changes.removed.map(\.version) == ["1"])
    }

    @Test("dpkg orders versions as this does")
    func dpkgOrder() throws {
        var random = SeededRandom(seed: 7)
        let parts = [
            "1", "2", "10", "09", "a", "b", "~", "~~", "+", ".", "-1", "deb12u1", "~rc1", "+b1", "0", "z", "-0",
        ]
        func version() -> String {
            let epoch = ["", "", "", "0:", "1:"][Int(random.next() % 5)]
            return epoch + "1" + (0..<Int(random.next() % 5)).map { _ in parts[Int(random.next() % 17)] }.joined()
        }
        var pairs = (0..<400).map { _ in (version(), version()) }
        pairs += [("1.0", "1.0-0"), ("1.0~rc1-1", "1.0-1"), ("2:1", "10"), ("1.0+b1", "1.0"), ("1.0-1", "1.0-01")]
        let said = try Self.dpkg(pairs)
        try #require(said.count == pairs.count)
        for ((left, right), order) in zip(pairs, said) {
            #expect(PackageVersionOrder.dpkg(left, right).signum() == order, "\(left) and \(right)")
            #expect(PackageVersionOrder.dpkg(right, left).signum() == -order, "\(right) and \(left)")
        }
        #expect(Set(said).count == 3, "all three happen")
    }

    /// Each is older than the next one.
    @Test(
        "apk's versions are ordered as apk does",
        arguments: [
            [
                "1.0_alpha", "1.0_alpha1", "1.0_alpha2", "1.0_beta1", "1.0_pre1", "1.0_rc1", "1.0_rc2", "1.0",
                "1.0-r0", "1.0-r1", "1.0-r10", "1.0_cvs1", "1.0_svn1", "1.0_git20240101", "1.0_hg1", "1.0_p1",
                "1.0_p10",
                "1.0a", "1.0b", "1.0.1", "1.1", "1.2", "1.10", "2", "10",
            ],
            ["0.001", "0.01", "0.1", "0.2", "0.10"], ["1.00", "1.0", "1.05", "1.5"],
            ["3.3.1-r2", "3.3.1-r3", "3.3.2-r0"], ["1.2.4", "1.2.5-r0"],
            ["20240101", "20240102", "99999999999999999999998", "99999999999999999999999"],
        ])
    func apkOrder(_ versions: [String]) {
        for (left, older) in versions.enumerated() {
            for (right, newer) in versions.enumerated() {
                let order = PackageVersionOrder.apk(older, newer).signum()
                #expect(order == (left - right).signum(), "\(older) and \(newer)")
            }
        }
    }

    private static func dpkg(_ stanzas: String...) -> PackageList {
        PackageList(files: [DpkgStatus.path: Array(stanzas.joined(separator: "\n").utf8)])
    }

    /// -1, 0 or 1 for each pair.
    private static func dpkg(_ pairs: [(String, String)]) throws -> [Int] {
        let script = """
            while read -r a b; do
                if dpkg --compare-versions "$a" lt "$b"; then echo -1
                elif dpkg --compare-versions "$a" gt "$b"; then echo 1; else echo 0; fi
            done 2>/dev/null
            """
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", script]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        // Less than a pipe holds.
        try input.fileHandleForWriting.write(contentsOf: Data(pairs.map { "\($0.0) \($0.1)\n" }.joined().utf8))
        try input.fileHandleForWriting.close()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        return text.split(separator: "\n").compactMap { Int($0) }
    }
}
