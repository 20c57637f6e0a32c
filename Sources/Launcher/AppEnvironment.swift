import JSON

/// The environment that an app sees, from the one that the container was started with.
///
/// HOME, TMPDIR, DEPS_DIR, PWD and VCAP_APPLICATION are set whatever they were, and DATABASE_URL where a bound service
/// has one, as the predecessors' launchers did; everything else is a default for what is not set.
package struct AppEnvironment: Hashable, Sendable {
    package let environment: Environment
    /// Remarks for the app's log.
    package let warnings: [String]

    /// - Parameter freshGUID: makes the instance's guid where the platform gave none.
    package init(from base: Environment, layout: DropletLayout, freshGUID: () -> String) {
        var environment = base
        environment.set("HOME", layout.app)
        environment.set("PWD", layout.app)
        environment.set("TMPDIR", layout.temporary)
        environment.set("DEPS_DIR", layout.dependencies)
        environment.setDefault("USER", "vcap")
        environment.setDefault("LANG", "en_US.UTF-8")
        environment.setDefault("PATH", "/usr/local/bin:/usr/bin:/bin")

        let port = environment.nonEmpty("PORT") ?? "8080"
        environment["PORT"] = port
        environment.setDefault("VCAP_APP_HOST", "0.0.0.0")
        environment.setDefault("VCAP_APP_PORT", port)
        environment.setDefault("CF_INSTANCE_PORT", port)
        environment.setDefault("CF_INSTANCE_ADDR", "0.0.0.0:\(port)")
        if let number = Int64(port) {
            environment.setDefault("CF_INSTANCE_PORTS", #"[{"external":\#(number),"internal":\#(number)}]"#)
        }

        let index = Self.instanceIndex(base)
        environment["INSTANCE_INDEX"] = index
        environment["CF_INSTANCE_INDEX"] = index
        let guid = base.nonEmpty("CF_INSTANCE_GUID") ?? base.nonEmpty("INSTANCE_GUID") ?? freshGUID()
        environment["CF_INSTANCE_GUID"] = guid
        environment["INSTANCE_GUID"] = base.nonEmpty("INSTANCE_GUID") ?? guid

        if let application = environment["VCAP_APPLICATION"] {
            environment["VCAP_APPLICATION"] = VCAPApplication.rewritten(application, environment: environment)
        }
        if let services = environment.nonEmpty("VCAP_SERVICES"), let url = DatabaseURL.first(in: services) {
            environment["DATABASE_URL"] = url
        }
        warnings = Self.platformWarnings(base)
        environment["VCAP_PLATFORM_OPTIONS"] = nil
        self.environment = environment
    }

    /// The pod's ordinal (a StatefulSet names its pods `NAME-ORDINAL`), else what the platform set, else the ordinal
    /// in the host name, which is the pod's name too, else 0.
    static func instanceIndex(_ base: Environment) -> String {
        ordinal(base["POD_NAME"]) ?? base.nonEmpty("CF_INSTANCE_INDEX") ?? base.nonEmpty("INSTANCE_INDEX")
            ?? (base["KUBERNETES_SERVICE_HOST"] == nil ? nil : ordinal(base["HOSTNAME"])) ?? "0"
    }

    private static func ordinal(_ podName: String?) -> String? {
        guard let parts = podName?.split(separator: "-", omittingEmptySubsequences: false), parts.count > 1,
            let last = parts.last, let number = Int32(last), String(number) == last
        else { return nil }
        return String(last)
    }

    private static func platformWarnings(_ base: Environment) -> [String] {
        guard let options = base.nonEmpty("VCAP_PLATFORM_OPTIONS") else { return [] }
        guard let uri = (try? JSONValue(parsing: options))?["credhub-uri"]?.string, !uri.isEmpty else { return [] }
        return ["CredHub is not supported: its references in VCAP_SERVICES stay as they are"]
    }
}
