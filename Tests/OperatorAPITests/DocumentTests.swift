import Archive
import Blobs
import HTTPTypes
import Images
import JSON
import Layers
import OCI
import ObjectStore
import Registry
import Service
import Testing

@testable import OperatorAPI

@Suite("The OpenAPI document", .timeLimit(.minutes(5)))
struct DocumentTests {
    private static func routes() async throws -> Routes {
        let store = MemoryObjectStore()
        let now: @Sendable () -> Int64 = { 1 }
        let blobs = BlobStore(store: store, now: now)
        let quotas = QuotaLedger()
        let droplets = DropletCatalog(store: store, blobs: blobs, conversions: 1, now: now)
        let rootfs = try await RootfsCatalog(store: store, blobs: blobs, now: now)
        let images = DerivedImages(
            droplets: droplets, rootfs: rootfs, recipes: try await RecipeStore(store: store), lifecycle: [:])
        let registry = Registry(store: store, blobs: blobs, quotas: quotas, now: now)
        let pins = RunningImages(store: store, now: now)
        return OperatorAPI(
            rootfs: rootfs, droplets: droplets, images: images,
            collections: CollectionRunner(
                collector: GarbageCollector(registry: registry, blobs: blobs, reading: store, clockSkew: 0),
                roots: { images.roots }, retire: { _ in CollectionRunner.Retired() }, now: now),
            verifications: VerificationRunner(
                verifier: Verifier(registry: registry, blobs: blobs, reading: store, users: { _ in [] }), now: now),
            pins: pins,
            retention: Retention(images: images, pins: pins, policy: RetentionPolicy(), now: now),
            usage: UsageCounter(quotas: quotas, registry: registry, reading: store, now: now),
            settings: OperatorAPI.Settings(maximumRootfs: 1, limits: ConversionLimits(), compression: .gzip)
        ).routes
    }

    @Test("tells of every route, and of none that is not there")
    func complete() async throws {
        let registered = try await Self.routes().patterns.map { route in
            "\(route.method?.rawValue ?? "any") \(route.pattern.text)"
        }
        let told = Operation.all.map { "\($0.method.rawValue) \($0.path)" }
        #expect(Set(registered).subtracting(told) == [], "add a row to Sources/OperatorAPI/OpenAPI/Operation+All.swift")
        #expect(Set(told).subtracting(registered) == [])
        #expect(Set(told).count == told.count && Set(registered).count == registered.count)
        #expect(registered.allSatisfy { $0.contains(" /api/v1/") })
    }

    @Test("names each operation once, and refers only to what it has")
    func consistent() throws {
        let document = OpenAPIDocument.json(Operation.all)
        var identifiers: [String] = []
        for methods in (document["paths"]?.object ?? [:]).values {
            identifiers += (methods.object ?? [:]).values.compactMap { $0["operationId"]?.string }
        }
        #expect(identifiers.count == Operation.all.count && Set(identifiers).count == identifiers.count)
        let text = document.canonicalText
        let named = text.matches(of: /#\/components\/schemas\/([A-Za-z]+)/).map { String($0.output.1) }
        #expect(Set(named) == Set(Schema.components.keys), "each is used, and each is there")
        for operation in Operation.all {
            let names = operation.template.matches(of: /\{([a-z]+)\}/).map { String($0.output.1) }
            let parameters = operation.json["parameters"]?.array ?? []
            #expect(parameters.filter { $0["in"] == "path" }.map { $0["name"]?.string ?? "" } == names)
        }
    }
}
