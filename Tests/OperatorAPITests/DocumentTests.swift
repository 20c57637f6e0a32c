import Archive
import Bits
import Blobs
import Clusters
import Droplets
import HTTPServer
import HTTPTypes
import Images
import JSON
import Layers
import Logging
import Maintenance
import OCI
import ObjectStore
import Operations
import Registry
import Rootfs
import Runtime
import Testing

@testable import OperatorAPI

@Suite("The OpenAPI document", .timeLimit(.minutes(5)))
struct DocumentTests {
    private static func table() async throws -> [OperatorRoute] {
        let store = MemoryObjectStore()
        let now: @Sendable () -> Int64 = { 1 }
        let blobs = BlobStore(store: store, now: now)
        let quotas = QuotaLedger()
        let droplets = DropletCatalog(store: store, blobs: blobs, conversions: 1, now: now)
        let rootfs = try await RootfsCatalog(store: store, blobs: blobs, now: now)
        let builds = try await BuildRootfsCatalog(store: store, blobs: blobs, now: now)
        let images = DerivedImages(
            droplets: droplets, rootfs: rootfs, recipes: try await RecipeStore(store: store), lifecycle: [:])
        let registry = Registry(store: store, blobs: blobs, quotas: quotas, now: now)
        let pins = RunningImages(store: store, now: now)
        let clusters = ClusterCatalog(store: store, pins: pins, now: now)
        let retention = Retention(
            images: images, pins: pins, clusters: clusters, policy: RetentionPolicy(), now: now)
        let operations = OperationRunner(
            store: store, isExclusive: true, describe: OperatorErrors.describe, now: now,
            logger: Logger(label: "test"))
        return OperatorAPI(
            rootfs: rootfs, builds: builds, droplets: droplets, images: images, pins: pins,
            clusters: clusters, retention: retention, operations: operations,
            work: StoreMaintenance(
                operations: operations,
                owners: ContentOwners(
                    registry: registry, images: images, builds: builds,
                    bits: BitsCatalog(store: store, blobs: blobs, limits: BitsLimits(bytes: 1), now: { 1 })),
                retention: retention, blobs: blobs, quotas: quotas, reading: store, now: now,
                logger: Logger(label: "test")), events: Events(),
            settings: OperatorAPI.Settings(maximumRootfs: 1, limits: ConversionLimits(), compression: .gzip)
        ).table
    }

    @Test("names each operation once, and refers only to what it has")
    func consistent() async throws {
        let table = try await Self.table()
        let document = OpenAPIDocument.json(table)
        var identifiers: [String] = []
        for methods in (document["paths"]?.object ?? [:]).values {
            identifiers += (methods.object ?? [:]).values.compactMap { $0["operationId"]?.string }
        }
        #expect(identifiers.count == table.count && Set(identifiers).count == identifiers.count)
        let named = document.canonicalText.matches(of: /#\/components\/schemas\/([A-Za-z]+)/).map {
            String($0.output.1)
        }
        #expect(Set(named) == Set((document["components"]?["schemas"]?.object ?? [:]).keys), "each is used and there")
        for route in table {
            #expect(route.pattern.text.hasPrefix("/api/v1/"))
            let names = route.template.matches(of: /\{([a-z]+)\}/).map { String($0.output.1) }
            let parameters = route.json["parameters"]?.array ?? []
            #expect(parameters.filter { $0["in"] == "path" }.map { $0["name"]?.string ?? "" } == names)
        }
    }
}
