package import Bits
public import Droplets
public import HTTPServer
package import Identity
import Images
public import Layers
public import Rootfs

/// The routes that the cloud controller's bits client and staging jobs use.
public struct BitsAPI: Sendable {
    let droplets: DropletCatalog
    let uploads: BitsUploads
    var bits: BitsCatalog { uploads.catalog }
    let signer: URLSigner
    let settings: Settings
    private let elsewhere: Routes?

    public struct Settings: Sendable {
        /// The largest droplet, or other bits, that may be uploaded, in bytes as sent.
        public let maximumDroplet: Int64
        public let limits: ConversionLimits
        public let layout: DropletLayout
        /// For uploads that name no stack.
        public let defaultStack: StackName
        /// For uploads that name no architecture.
        public let defaultArchitecture: Architecture
        /// What signed URLs begin with, scheme and host; nil: as the request for one was sent.
        public let publicURL: String?
        /// What references of images begin with, HOST[:PORT]; nil: as the request was sent.
        public let publicAddress: String?

        public init(
            maximumDroplet: Int64, limits: ConversionLimits, layout: DropletLayout, defaultStack: StackName,
            defaultArchitecture: Architecture, publicURL: String? = nil, publicAddress: String? = nil
        ) {
            self.publicAddress = publicAddress
            self.publicURL = publicURL
            self.maximumDroplet = maximumDroplet
            self.limits = limits
            self.layout = layout
            self.defaultStack = defaultStack
            self.defaultArchitecture = defaultArchitecture
        }
    }

    /// - Parameters:
    ///   - uploads: finishes uploads whose clients don't wait.
    ///   - elsewhere: routes of other APIs for which `/sign` signs, too.
    package init(
        droplets: DropletCatalog, uploads: BitsUploads, signer: URLSigner, settings: Settings, elsewhere: Routes? = nil
    ) {
        self.elsewhere = elsewhere
        self.droplets = droplets
        self.uploads = uploads
        self.signer = signer
        self.settings = settings
    }

    public var routes: Routes {
        var routes = Routes(errors: BitsErrors())
        addDropletRoutes(to: &routes)
        var others = Routes(errors: BitsErrors(isTerse: true))
        addBitsRoutes(to: &others)
        addStashRoutes(to: &others)
        routes.add(others)
        var signing = Routes(errors: BitsErrors(isTerse: true))
        var signable = routes
        if let elsewhere { signable.add(elsewhere) }
        addSignRoute(to: &signing, for: signable)
        routes.add(signing)
        return routes
    }
}
