// swift-tools-version: 6.2
import PackageDescription

// The house: a target imports only targets that stand above it here. README.md has the picture.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket: Target.Dependency = .product(name: "NIOWebSocket", package: "swift-nio")
let nioHTTPTypes: Target.Dependency = .product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let nioHTTPTypesHTTP1: Target.Dependency = .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioHTTP2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioHPACK: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let serviceLifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let configuration: Target.Dependency = .product(name: "Configuration", package: "swift-configuration")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let swiftASN1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let metricsTestKit: Target.Dependency = .product(name: "MetricsTestKit", package: "swift-metrics")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")

let package = Package(
    name: "cistern",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "cistern", targets: ["cistern"]),
        .executable(name: "launch", targets: ["launch"]),
        .executable(name: "stage-build", targets: ["stage-build"]),
        .executable(name: "stage-download", targets: ["stage-download"]),
        .executable(name: "stage-upload", targets: ["stage-upload"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", exact: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-configuration", exact: "1.4.0", traits: ["JSON", "YAML"]),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", exact: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", exact: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CLZMA", pkgConfig: "liblzma", providers: [.apt(["liblzma-dev"])]),
        .systemLibrary(name: "CBzip2", providers: [.apt(["libbz2-dev"])]),
        .systemLibrary(name: "CCrypt", pkgConfig: "libcrypt", providers: [.apt(["libcrypt-dev"])]),
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(name: "CPread"),
        .systemLibrary(name: "CLibYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CLibcrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

        .target(name: "JSON", swiftSettings: strict),
        .target(name: "OCI", dependencies: ["JSON", "CLibcrypto"], swiftSettings: strict),
        .target(name: "OperatorModel", dependencies: ["JSON", "OCI"], swiftSettings: strict),
        .target(name: "Runtime", dependencies: ["CLinux", "JSON"], swiftSettings: strict),
        .target(name: "Signatures", dependencies: ["OCI", "CLibcrypto", "Runtime"], swiftSettings: strict),
        .target(
            name: "Archive",
            dependencies: ["CArchive", "CBzip2", "CISAL", "CLZMA", "CLinux", "CZlib", "CZstd"], swiftSettings: strict),
        .target(
            name: "ObjectStore", dependencies: ["CLinux", "OCI", "Runtime", logging, metrics], swiftSettings: strict),
        .target(name: "Records", dependencies: ["JSON", "ObjectStore", logging], swiftSettings: strict),
        .target(
            name: "Operations", dependencies: ["JSON", "ObjectStore", "Records", logging, metrics],
            swiftSettings: strict),
        .target(
            name: "Blobs", dependencies: ["JSON", "OCI", "ObjectStore", "Records", "Runtime", logging],
            swiftSettings: strict),
        .target(name: "Layers", dependencies: ["Archive", "JSON", "OCI", logging], swiftSettings: strict),
        .target(name: "Packages", dependencies: ["JSON", "OCI", "Runtime"], swiftSettings: strict),
        .target(
            name: "Rootfs",
            dependencies: [
                "Archive", "Blobs", "JSON", "Layers", "OCI", "ObjectStore", "Packages", "Records", "Runtime",
                "Signatures",
                logging,
            ],
            swiftSettings: strict),
        .target(
            name: "Droplets",
            dependencies: [
                "Archive", "Blobs", "JSON", "Layers", "OCI", "ObjectStore", "Packages", "Records", "Rootfs", "Runtime",
                logging,
            ],
            swiftSettings: strict),
        .target(
            name: "Images",
            dependencies: [
                "Archive", "Blobs", "Droplets", "JSON", "Layers", "ObjectStore", "OCI", "Packages", "Records", "Rootfs",
                "Runtime", "Signatures",
            ],
            swiftSettings: strict),
        .target(
            name: "Registry", dependencies: ["Blobs", "JSON", "OCI", "ObjectStore", "Records", "Runtime", logging],
            swiftSettings: strict),
        .target(
            name: "Bits",
            dependencies: [
                "Archive", "Blobs", "JSON", "Layers", "OCI", "ObjectStore", "Operations", "Records", "Runtime", logging,
            ],
            swiftSettings: strict),
        .target(
            name: "Clusters", dependencies: ["JSON", "OCI", "ObjectStore", "Records", "Rootfs", "Runtime"],
            swiftSettings: strict),
        .target(
            name: "Maintenance",
            dependencies: [
                "Bits", "Blobs", "Clusters", "Droplets", "Images", "JSON", "Layers", "OCI", "ObjectStore", "Operations",
                "OperatorModel",
                "Records",
                "Registry", "Rootfs", "Runtime", logging, serviceLifecycle,
            ], swiftSettings: strict),
        .target(name: "CLauncher"),
        .target(name: "Launcher", dependencies: ["CLauncher", "JSON"], swiftSettings: strict),
        .target(
            name: "Staging", dependencies: ["Archive", "CLibYAML", "CLinux", "JSON", "Launcher", "Runtime"],
            swiftSettings: strict),
        .target(
            name: "Transfer",
            dependencies: [
                "Archive", "CLauncher", "CLinux", "JSON", "OCI", "OperatorModel", "Runtime", "Staging", asyncHTTPClient,
                nioCore, nioHTTP1, nioPosix, nioSSL, logging,
            ],
            swiftSettings: strict),

        .target(
            name: "Kubernetes",
            dependencies: [
                "JSON", "Runtime", asyncHTTPClient, nioCore, nioHTTP1, nioPosix, nioSSL, nioWebSocket, logging, yams,
            ],
            swiftSettings: strict),

        .executableTarget(
            name: "launch", dependencies: ["Launcher"], swiftSettings: strict,
            linkerSettings: [
                .unsafeFlags(["-static-executable", "-Xlinker", "-s", "-Xlinker", "--gc-sections"])
            ]),
        .executableTarget(
            name: "stage-build", dependencies: ["Staging"], swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-stdlib", "-Xlinker", "-s", "-Xlinker", "--gc-sections"])]),
        .executableTarget(name: "stage-download", dependencies: ["Staging", "Transfer"], swiftSettings: strict),
        .executableTarget(name: "stage-upload", dependencies: ["Staging", "Transfer"], swiftSettings: strict),
        .target(
            name: "StagingService",
            dependencies: [
                "Archive", "Bits", "Blobs", "CLinux", "CSeccomp", "Images", "JSON", "Layers", "Maintenance", "OCI",
                "ObjectStore", "Records", "Rootfs", "Runtime", "Staging", "Transfer", logging,
            ],
            swiftSettings: strict),
        .target(name: "ClusterAgent", dependencies: ["JSON", "OCI"], swiftSettings: strict),
        .target(name: "Logs", dependencies: ["Runtime", logging, nioPosix], swiftSettings: strict),
        .target(
            name: "Identity",
            dependencies: [
                "CCrypt", "JSON", "OCI", "Runtime", crypto, logging, nioCore, nioPosix, serviceLifecycle, yams,
            ],
            swiftSettings: strict),
        .target(
            name: "HTTPServer",
            dependencies: [
                "CLinux", "CPread", "Identity", "JSON", "Logs", "OCI", "ObjectStore", "Runtime", crypto, httpTypes,
                logging, metrics,
                nioCore, nioHPACK, nioHTTP1, nioHTTP2, nioHTTPTypes, nioHTTPTypesHTTP1, nioPosix, nioSSL, nioTLS,
                serviceLifecycle, swiftASN1, x509,
            ], swiftSettings: strict),
        .target(
            name: "ErrorStatus",
            dependencies: [
                "Archive", "Bits", "Blobs", "HTTPServer", "Layers", "ObjectStore", "Operations", "Records", "Registry",
                "Rootfs",
                httpTypes,
            ],
            swiftSettings: strict),
        .target(
            name: "RegistryAPI",
            dependencies: [
                "Blobs", "ErrorStatus", "HTTPServer", "Identity", "Images", "JSON", "ObjectStore", "OCI", "Registry",
                "Rootfs", "Runtime", httpTypes,
            ],
            swiftSettings: strict),
        .target(
            name: "BitsAPI",
            dependencies: [
                "Bits", "Blobs", "Droplets", "ErrorStatus", "HTTPServer", "Identity", "Images", "JSON", "Layers",
                "ObjectStore",
                "OCI",
                "Packages", "Rootfs", "Runtime", httpTypes,
            ],
            swiftSettings: strict),
        .target(
            name: "OperatorAPI",
            dependencies: [
                "Archive", "Blobs", "Clusters", "Droplets", "ErrorStatus", "HTTPServer", "Identity", "Images", "JSON",
                "Layers",
                "Maintenance", "ObjectStore", "OCI", "Operations", "OperatorModel", "Packages", "Records", "Registry",
                "Rootfs", "Runtime", "Signatures", httpTypes, logging,
            ],
            swiftSettings: strict),

        .target(
            name: "StagingAPI", dependencies: ["HTTPServer", "Identity", "JSON", "StagingService", httpTypes, logging],
            swiftSettings: strict),
        .executableTarget(
            name: "cistern",
            dependencies: [
                "Archive", "Bits", "BitsAPI", "Blobs", "Clusters", "Droplets", "HTTPServer", "Identity", "Images",
                "JSON",
                "Layers", "Logs", "Maintenance", "ObjectStore", "OCI", "Operations", "OperatorAPI", "OperatorModel",
                "Packages",
                "Records", "Registry", "RegistryAPI",
                "Rootfs", "Runtime", "Signatures", "StagingAPI", "StagingService", "Transfer", argumentParser,
                configuration, logging, nioCore,
                nioSSL, serviceLifecycle, unixSignals, yams,
            ], swiftSettings: strict),

        .target(
            name: "ObjectStoreTesting", dependencies: ["ObjectStore"], path: "Tests/ObjectStoreTesting",
            swiftSettings: strict),
        .executableTarget(
            name: "ObjectStoreCrashWriter", dependencies: ["ObjectStore", logging],
            path: "Tests/ObjectStoreCrashWriter",
            swiftSettings: strict),
        .target(
            name: "TestSupport", dependencies: ["Archive", "JSON", "OCI", "Signatures"], path: "Tests/TestSupport",
            swiftSettings: strict),
        .target(
            name: "KubernetesTesting",
            dependencies: [
                "JSON", "TestSupport", asyncHTTPClient, crypto, nioCore, nioHTTP1, nioPosix, nioSSL, nioWebSocket,
                swiftASN1, x509, yams,
            ], path: "Tests/KubernetesTesting", swiftSettings: strict),
        .executableTarget(
            name: "kubernetes-stand-in", dependencies: ["JSON", "KubernetesTesting"],
            path: "Tests/KubernetesStandIn", swiftSettings: strict),
        .testTarget(
            name: "KubernetesTestingTests",
            dependencies: ["JSON", "KubernetesTesting", asyncHTTPClient, nioCore, nioHTTP1, nioSSL],
            swiftSettings: strict),
        .testTarget(name: "HouseTests", swiftSettings: strict),
        .testTarget(name: "JSONTests", dependencies: ["JSON", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "OCITests", dependencies: ["JSON", "OCI"], swiftSettings: strict),
        .testTarget(name: "RuntimeTests", dependencies: ["JSON", "Runtime"], swiftSettings: strict),
        .testTarget(
            name: "ObjectStoreTests",
            dependencies: [
                "ObjectStore", "ObjectStoreCrashWriter", "ObjectStoreTesting", "Runtime", "TestSupport", logging,
                metricsTestKit,
            ],
            swiftSettings: strict),
        .testTarget(name: "RecordsTests", dependencies: ["JSON", "ObjectStore", "Records"], swiftSettings: strict),
        .testTarget(name: "SignaturesTests", dependencies: ["Signatures", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "ArchiveTests", dependencies: ["Archive", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "LayersTests", dependencies: ["Archive", "Layers", "OCI"], swiftSettings: strict),
        .target(
            name: "ImagesTesting",
            dependencies: [
                "Archive", "Blobs", "Droplets", "Images", "Layers", "OCI", "ObjectStore", "Packages", "Rootfs",
                "Signatures", "TestSupport", logging,
            ], path: "Tests/ImagesTesting", swiftSettings: strict),
        .testTarget(name: "PackagesTests", dependencies: ["Packages", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "RootfsTests",
            dependencies: [
                "Archive", "Blobs", "Droplets", "Images", "ImagesTesting", "JSON", "Layers", "OCI", "ObjectStore",
                "Packages", "Rootfs", "Runtime", "TestSupport", logging,
            ], swiftSettings: strict),
        .testTarget(
            name: "DropletsTests",
            dependencies: [
                "Archive", "Blobs", "Droplets", "ImagesTesting", "Layers", "OCI", "ObjectStore", "Rootfs",
                "TestSupport",
            ], swiftSettings: strict),
        .testTarget(
            name: "ImagesTests",
            dependencies: [
                "Bits", "Archive", "Blobs", "Droplets", "Images", "ImagesTesting", "JSON", "Layers", "Maintenance",
                "OCI",
                "ObjectStore", "Packages", "Rootfs", "Runtime", "Signatures", "TestSupport",
            ], swiftSettings: strict),
        .testTarget(
            name: "BlobsTests", dependencies: ["Blobs", "OCI", "ObjectStore", "TestSupport"], swiftSettings: strict),
        .target(
            name: "RegistryTesting",
            dependencies: ["Bits", "Blobs", "Maintenance", "OCI", "ObjectStore", "Registry", "TestSupport"],
            path: "Tests/RegistryTesting", swiftSettings: strict),
        .testTarget(
            name: "RegistryTests",
            dependencies: [
                "Bits", "Blobs", "JSON", "Maintenance", "OCI", "ObjectStore", "Records", "Registry", "RegistryTesting",
                "TestSupport",
            ], swiftSettings: strict),
        .testTarget(name: "ClusterAgentTests", dependencies: ["ClusterAgent", "JSON", "OCI"], swiftSettings: strict),
        .testTarget(
            name: "ClustersTests", dependencies: ["Clusters", "ObjectStore", "Rootfs"], swiftSettings: strict),
        .testTarget(
            name: "MaintenanceTests",
            dependencies: [
                "Bits", "Archive", "Blobs", "Clusters", "Droplets", "Images", "ImagesTesting", "JSON", "Layers",
                "Maintenance",
                "OCI",
                "ObjectStore", "Operations", "Packages", "Records", "Registry", "RegistryTesting", "Rootfs",
                "TestSupport",
                logging,
            ], exclude: ["Collection/Model"], swiftSettings: strict),
        .testTarget(
            name: "RegistryAPITests",
            dependencies: [
                "Blobs", "Droplets", "HTTPServer", "Identity", "Images", "ImagesTesting", "JSON", "Logs", "ObjectStore",
                "OCI", "Packages", "Registry", "RegistryAPI", "Rootfs", "Runtime", "TestSupport", httpTypes, logging,
                serviceLifecycle,
            ], swiftSettings: strict),
        .testTarget(
            name: "OperationsTests",
            dependencies: [
                "JSON", "ObjectStore", "Operations", "Records", "TestSupport", logging, metricsTestKit,
            ],
            swiftSettings: strict),
        .testTarget(name: "OperatorModelTests", dependencies: ["JSON", "OCI", "OperatorModel"], swiftSettings: strict),
        .testTarget(
            name: "BitsAPITests",
            dependencies: [
                "Bits", "Archive", "BitsAPI", "Blobs", "Droplets", "HTTPServer", "Identity", "Images", "JSON", "Layers",
                "OCI",
                "ObjectStore", "Operations", "Rootfs", "TestSupport", httpTypes, logging,
            ], swiftSettings: strict),
        .testTarget(
            name: "OperatorAPITests",
            dependencies: [
                "Bits", "Archive", "Blobs", "Clusters", "Droplets", "HTTPServer", "Images", "JSON", "Layers",
                "ObjectStore", "OCI",
                "Maintenance", "Operations", "OperatorAPI", "Packages", "Registry", "Rootfs", "Runtime", httpTypes,
                logging,
            ], swiftSettings: strict),
        .testTarget(
            name: "TransferTests",
            dependencies: ["JSON", "OCI", "Staging", "StagingService", "TestSupport", "Transfer"],
            swiftSettings: strict),
        .testTarget(
            name: "KubernetesTests",
            dependencies: [
                "JSON", "Kubernetes", "TestSupport", logging, nioCore, nioHTTP1, nioPosix, nioWebSocket,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "StagingTests", dependencies: ["Archive", "JSON", "Launcher", "Staging", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "StagingServiceTests",
            dependencies: ["JSON", "OCI", "ObjectStore", "StagingService", "TestSupport", "Transfer", logging],
            swiftSettings: strict),
        .testTarget(name: "LauncherTests", dependencies: ["JSON", "Launcher"], swiftSettings: strict),
        .testTarget(
            name: "ErrorStatusTests",
            dependencies: [
                "Bits", "BitsAPI", "Blobs", "Droplets", "ErrorStatus", "HTTPServer", "Layers", "OCI", "ObjectStore",
                "OperatorAPI", "Registry", "RegistryAPI", "Rootfs", httpTypes,
            ], swiftSettings: strict),
        .testTarget(
            name: "LogsTests", dependencies: ["JSON", "Logs", "Runtime", "TestSupport", logging], swiftSettings: strict),
        .testTarget(
            name: "IdentityTests",
            dependencies: ["Identity", "JSON", "Logs", "TestSupport", crypto, logging, nioCore],
            swiftSettings: strict),
        .testTarget(
            name: "HTTPServerTests",
            dependencies: [
                "HTTPServer", "Identity", "JSON", "Logs", "TestSupport", httpTypes, logging, metrics,
                metricsTestKit, nioCore, nioEmbedded,
                nioHPACK, nioHTTP2, nioPosix, nioSSL, serviceLifecycle, unixSignals,
            ], swiftSettings: strict),
        .testTarget(
            name: "ClientTests", dependencies: ["TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "ServerTests", dependencies: ["Identity", "JSON", "OCI", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "CompatibilityTests", dependencies: ["JSON", "OCI", "TestSupport"], swiftSettings: strict),

        .executableTarget(
            name: "ConversionBench", dependencies: ["Archive", "Layers", "OCI"],
            path: "Tests/Benchmarks/ConversionBench", swiftSettings: strict),
        .executableTarget(
            name: "fill-store", dependencies: ["Blobs", "JSON", "OCI", "ObjectStore", logging],
            path: "Tests/Benchmarks/fill-store", swiftSettings: strict),
        .executableTarget(
            name: "http-bench-server",
            dependencies: ["HTTPServer", "Identity", "Logs", httpTypes, logging, serviceLifecycle, unixSignals],
            path: "Tests/Benchmarks/http/server", swiftSettings: strict),
    ]
)
