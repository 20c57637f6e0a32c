public import Archive
package import Clusters
package import Droplets
public import HTTPServer
import HTTPTypes
import Identity
package import Images
import JSON
public import Layers
package import Maintenance
package import Operations
import OperatorModel
public import Rootfs
package import Runtime
public import Signatures

/// The operators' routes below `/api/v1/`.
public struct OperatorAPI: Sendable {
    let rootfs: RootfsCatalog
    let builds: BuildRootfsCatalog
    let droplets: DropletCatalog
    let images: DerivedImages
    let pins: RunningImages
    let clusters: ClusterCatalog
    let retention: Retention
    let operations: OperationRunner
    let others: (any OtherOperations)?
    let work: StoreMaintenance
    let events: Events
    let settings: Settings

    public struct Settings: Sendable {
        /// The largest rootfs file that may be imported, in bytes.
        public let maximumRootfs: Int64
        public let limits: ConversionLimits
        public let compression: CompressionFormat
        /// Whether an import computes the delta from the stack's current version.
        public let computesDeltas: Bool
        public let rootfsMustBeSigned: Bool
        /// How nodes and clients call the registry, HOST[:PORT]; nil: as the request at hand called it.
        public let publicAddress: String?
        /// The names that buildpacks know stacks by, where these are not the stacks' own.
        public let compatibleStacks: [StackName: StackName]
        /// The keys whose signatures of a rootfs are trusted; read again for each import.
        public let trusted: @Sendable () -> TrustedKeys

        public init(
            maximumRootfs: Int64, limits: ConversionLimits, compression: CompressionFormat,
            computesDeltas: Bool = false, publicAddress: String? = nil,
            rootfsMustBeSigned: Bool = false, compatibleStacks: [StackName: StackName] = [:],
            trusted: @escaping @Sendable () -> TrustedKeys = { TrustedKeys() }
        ) {
            self.rootfsMustBeSigned = rootfsMustBeSigned
            self.publicAddress = publicAddress
            self.compatibleStacks = compatibleStacks
            self.trusted = trusted
            self.computesDeltas = computesDeltas
            self.maximumRootfs = maximumRootfs
            self.limits = limits
            self.compression = compression
        }
    }

    package init(
        rootfs: RootfsCatalog, builds: BuildRootfsCatalog, droplets: DropletCatalog, images: DerivedImages,
        pins: RunningImages, clusters: ClusterCatalog, retention: Retention, operations: OperationRunner,
        others: (any OtherOperations)? = nil, work: StoreMaintenance, events: Events, settings: Settings
    ) {
        self.events = events
        self.others = others
        self.rootfs = rootfs
        self.builds = builds
        self.droplets = droplets
        self.images = images
        self.pins = pins
        self.clusters = clusters
        self.retention = retention
        self.operations = operations
        self.work = work
        self.settings = settings
    }

    /// What stands before a repository in a reference that is for people and nodes.
    func registry(_ request: Request) -> String {
        (settings.publicAddress ?? request.authority).map { "\($0)/" } ?? ""
    }

    public var routes: Routes {
        var routes = Routes(errors: OperatorErrors())
        for route in table { routes.on(route.method, route.pattern, route.handler) }
        return routes
    }

    /// All routes below `/api/v1/`, including that of the OpenAPI document.
    var table: [OperatorRoute] {
        let routes =
            versionRoutes + promotionRoutes + [importRoute] + deltaRoutes + dropletRoutes + clusterRoutes + storeRoutes
            + operationRoutes + [eventRoute]
        return routes + [Self.document(of: routes)]
    }

    private static func document(of routes: [OperatorRoute]) -> OperatorRoute {
        OperatorRoute(
            .get, "/api/v1/openapi.json", "This document.", answers: [200: .json { [String: JSONValue].schema }]
        ) { _ in .json(OpenAPIDocument.json(routes + [document(of: routes)])) }
    }
}
