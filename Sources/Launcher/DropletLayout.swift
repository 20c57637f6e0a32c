/// Where a droplet's parts lie. Everything follows from the app's directory.
package struct DropletLayout: Hashable, Sendable {
    /// Where images have the app.
    package static let standard = DropletLayout(app: "/home/vcap/app")

    /// An absolute path.
    package let app: SystemText

    package init(app: SystemText) { self.app = app }

    private func home(_ name: SystemText) -> SystemText { (app + "/../" + name).absolute(from: "/") }

    package var temporary: SystemText { home("tmp") }
    package var dependencies: SystemText { home("deps") }
    package var stagingInfo: SystemText { home("staging_info.yml") }
    package var procfile: SystemText { app.appending(component: "Procfile") }

    /// What the buildpacks want sourced, then what the app's owner wants sourced.
    package var profileDirectories: [SystemText] { [home("profile.d"), app.appending(component: ".profile.d")] }
    package var profile: SystemText { app.appending(component: ".profile") }

    /// What the buildpack of that index says of its processes.
    package func launchFile(index: SystemText) -> SystemText {
        dependencies.appending(component: index).appending(component: "launch.yml")
    }
}
