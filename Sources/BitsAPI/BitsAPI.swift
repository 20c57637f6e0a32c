public import Droplets
public import HTTPServer
import Images
public import Layers
public import Rootfs

/// The routes that the cloud controller's bits client and staging jobs use. So far: droplets.
public struct BitsAPI: Sendable {
    let droplets: DropletCatalog
    let settings: Settings

    public struct Settings: Sendable {
        /// The largest droplet that may be uploaded, in bytes as sent.
        public let maximumDroplet: Int64
        public let limits: ConversionLimits
        public let layout: DropletLayout
        /// For uploads that name no stack.
        public let defaultStack: StackName
        /// For uploads that name no architecture.
        public let defaultArchitecture: Architecture

        public init(
            maximumDroplet: Int64, limits: ConversionLimits, layout: DropletLayout, defaultStack: StackName,
            defaultArchitecture: Architecture
        ) {
            self.maximumDroplet = maximumDroplet
            self.limits = limits
            self.layout = layout
            self.defaultStack = defaultStack
            self.defaultArchitecture = defaultArchitecture
        }
    }

    public init(droplets: DropletCatalog, settings: Settings) {
        self.droplets = droplets
        self.settings = settings
    }

    public var routes: Routes {
        var routes = Routes(errors: BitsErrors())
        addDropletRoutes(to: &routes)
        return routes
    }
}
