import Foundation
import Testing

/// Who may import what. The build checks declared dependencies; this checks that the declarations keep to the house.
@Suite("The house")
struct FloorTests {
    /// A target's own floor, the ground floor first, and the packages that it may use besides what is free.
    static let floors: [(target: String, packages: Set<String>)] = [
        ("JSON", []),
        ("OCI", ["CLibcrypto"]),
        ("OperatorModel", []),
        ("Runtime", ["CLinux"]),
        ("Signatures", ["CLibcrypto"]),
        ("Archive", ["CArchive", "CBzip2", "CISAL", "CLZMA", "CLinux", "CZlib", "CZstd"]),
        ("ObjectStore", ["CLinux"]),
        ("Records", []),
        ("Operations", []),
        ("Blobs", []),
        ("Layers", []),
        ("Packages", []),
        ("Rootfs", []),
        ("Droplets", []),
        ("Images", []),
        ("Registry", []),
        ("Bits", []),
        ("Clusters", []),
        ("Maintenance", ["ServiceLifecycle"]),
        ("Launcher", ["CLauncher"]),
        ("Staging", ["CLibYAML", "CLinux"]),
        ("Transfer", ["AsyncHTTPClient", "CLauncher", "CLinux", "NIOCore", "NIOHTTP1", "NIOPosix", "NIOSSL"]),
        (
            "Kubernetes",
            ["AsyncHTTPClient", "NIOCore", "NIOHTTP1", "NIOPosix", "NIOSSL", "NIOWebSocket", "Yams"]
        ),
        ("StagingService", ["CLinux", "CSeccomp"]),
        ("ClusterAgent", []),
        ("Logs", ["NIOPosix"]),
        ("Identity", ["CCrypt", "Crypto", "NIOCore", "NIOPosix", "ServiceLifecycle", "Yams"]),
        (
            "HTTPServer",
            [
                "CLinux", "CPread", "Crypto", "HTTPTypes", "NIOCore", "NIOHPACK", "NIOHTTP1", "NIOHTTP2",
                "NIOHTTPTypes", "NIOHTTPTypesHTTP1", "NIOPosix", "NIOSSL", "NIOTLS", "ServiceLifecycle", "SwiftASN1",
                "X509",
            ]
        ),
        ("ErrorStatus", ["HTTPTypes"]),
        ("RegistryAPI", ["HTTPTypes"]),
        ("BitsAPI", ["HTTPTypes"]),
        ("StagingAPI", ["HTTPTypes"]),
        ("OperatorAPI", ["HTTPTypes"]),
    ]
    /// Free for every target but those of the programs that run on any rootfs: the launcher's and the build's.
    static let free: Set<String> = [
        "Foundation", "FoundationEssentials", "Glibc", "Logging", "Metrics", "Synchronization",
    ]
    static let freeForAnyRootfs: Set<String> = ["Glibc"]

    @Test("a target imports only what stands below it, and only its own heavy packages", arguments: floors.indices)
    func imports(_ floor: Int) throws {
        let (target, packages) = Self.floors[floor]
        let below = Set(Self.floors[..<floor].map(\.target))
        let isSmall = ["Launcher", "JSON", "Staging"].contains(target)
        let free = isSmall ? Self.freeForAnyRootfs : Self.free
        for (file, module) in try Self.imports(of: target) {
            #expect(
                below.contains(module) || packages.contains(module) || free.contains(module),
                "\(file) imports \(module)")
        }
    }

    @Test("every folder of Sources is a floor, a library of C or a program")
    func folders() throws {
        let programs: Set<String> = ["cistern", "launch", "stage-build", "stage-download", "stage-upload"]
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.sources.path)
        let known = Set(Self.floors.map(\.target)).union(programs)
        for folder in folders where !folder.hasPrefix("C") {
            #expect(known.contains(folder), "Sources/\(folder) has no place in the house")
        }
    }

    private static let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Sources")

    private static func imports(of target: String) throws -> [(file: String, module: String)] {
        let folder = sources.appendingPathComponent(target)
        let files = try FileManager.default.subpathsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".swift") }
        try #require(!files.isEmpty)
        return try files.flatMap { file in
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            return text.split(separator: "\n").compactMap { line -> (file: String, module: String)? in
                let words = line.split(separator: " ")
                guard let index = words.firstIndex(of: "import"), words.count > index + 1,
                    words[..<index].allSatisfy({ ["public", "package", "internal", "@testable"].contains($0) })
                else { return nil }
                return ("\(target)/\(file)", String(words[index + 1]))
            }
        }
    }
}
