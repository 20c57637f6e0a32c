/// The labels and annotations that Cistern sets in clusters: a contract that extensions read. A name, once released,
/// keeps its meaning; what would change it gets a new name.
package enum Contract {
    /// What stands before each name.
    package static let prefix = "cistern.cloudfoundry.org/"

    /// On pods: the images as they were named before they were pinned, `{"<container>":"<reference>"}` in JSON.
    package static let pinnedFrom = prefix + "pinned-from"
    /// On pods: the droplet that the app's container runs, `<guid>/<sha256>`.
    package static let droplet = prefix + "droplet"
    /// On pods: the root filesystem that it runs on, `<stack>/<version>`.
    package static let rootfs = prefix + "rootfs"
    /// On pod templates: `"true"` where pods are to be moved in place, without being recreated.
    package static let inPlace = prefix + "in-place"
    /// The condition of pods that are moved in place: not `True` while they are being moved.
    package static let movingGate = prefix + "in-service"
}
