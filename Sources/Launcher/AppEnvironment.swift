import JSON

/// The environment that an app sees, from the one that the container was started with.
///
/// HOME, TMPDIR, DEPS_DIR and PWD are set whatever they were, DATABASE_URL is set where a bound service has one, and
/// VCAP_APPLICATION, if there is one, is completed, as the predecessors' launchers did. The instance's index is the
/// pod's ordinal, if it has one. VCAP_PLATFORM_OPTIONS is removed. All other variables get defaults only where they are
/// missing.
package struct AppEnvironment: Hashable, Sendable {
    package let environment: Environment
    /// Warnings for the app's log.
    package let warnings: [String]

    /// - Parameters:
    ///   - base: the environment that the container was started with.
    ///   - freshGUID: makes the instance's guid where the platform gave none.
    package init(from base: Environment, layout: DropletPaths, freshGUID: () -> String) {
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

    /// The pod's ordinal (a StatefulSet names its pods `NAME-ORDINAL`), else the index that the platform set, else in
    /// Kubernetes the ordinal in the host name, which is the pod's name there, else 0.
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

    /// What the platform asks for in VCAP_PLATFORM_OPTIONS and is not done.
    package static func platformWarnings(_ base: Environment) -> [String] {
        guard let options = base.nonEmpty("VCAP_PLATFORM_OPTIONS") else { return [] }
        guard let uri = (try? JSONValue(parsing: options))?["credhub-uri"]?.string, !uri.isEmpty else { return [] }
        return ["CredHub is not supported: its references in VCAP_SERVICES stay as they are"]
    }
}

/// The variables of a process in their order. Variables that are not changed keep their bytes, UTF-8 or not.
package struct Environment: Hashable, Sendable {
    /// `NAME=value`, as execve(2) wants it.
    package private(set) var entries: [SystemText]

    package init(_ entries: [SystemText]) { self.entries = entries }

    /// The variable's value, or nil if it is missing. Where a name appears twice, the first counts (as for getenv(3)).
    package func value(_ name: String) -> SystemText? {
        let prefix = name + "="
        return entries.first { $0.hasPrefix(prefix) }
            .map { SystemText(bytes: $0.bytes.dropFirst(prefix.utf8.count)) }
    }

    /// The variable as text; nil if it is missing or not UTF-8. Setting nil removes it.
    package subscript(_ name: String) -> String? {
        get { value(name)?.string }
        set { set(name, newValue.map { SystemText($0) }) }
    }

    /// Sets a variable in its place, or removes it.
    package mutating func set(_ name: String, _ value: SystemText?) {
        let prefix = name + "="
        let place = entries.firstIndex { $0.hasPrefix(prefix) }
        entries.removeAll { $0.hasPrefix(prefix) }
        if let value { entries.insert(SystemText(prefix) + value, at: place ?? entries.endIndex) }
    }

    /// Sets a variable only if it is missing; an empty one stays empty.
    package mutating func setDefault(_ name: String, _ value: @autoclosure () -> String) {
        if self.value(name) == nil { self[name] = value() }
    }

    /// The variable as text; nil if it is missing, empty or not UTF-8.
    func nonEmpty(_ name: String) -> String? {
        guard let text = self[name], !text.isEmpty else { return nil }
        return text
    }
}

/// Completes VCAP_APPLICATION, which the platform sets alike for all instances, for one instance.
enum VCAPApplication {
    /// Adds host, port, instance_index and instance_id of this instance. A text that is no JSON object stays as it is.
    static func rewritten(_ text: String, environment: Environment) -> String {
        guard var members = (try? JSONValue(parsing: text))?.object else { return text }
        members["host"] = "0.0.0.0"
        members["instance_id"] = .string(environment["INSTANCE_GUID"] ?? "")
        if let port = environment["PORT"].flatMap({ Int64($0) }) { members["port"] = .integer(port) }
        if let index = environment["INSTANCE_INDEX"].flatMap({ Int64($0) }) {
            members["instance_index"] = .integer(index)
        }
        return JSONValue.object(members).canonicalText
    }
}

/// DATABASE_URL, which the platform derives from the bound services for frameworks that look only there.
package enum DatabaseURL {
    /// The URL schemes of databases, and the schemes by which the frameworks know them.
    private static let schemes = [
        "mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres", "postgresql": "postgres",
    ]

    /// The first `credentials.uri` of a database in VCAP_SERVICES, services in the byte order of their labels, with
    /// its scheme as frameworks expect it. A URL that is not valid is passed over, as by the predecessors: frameworks
    /// would fail with it. Nil if there is none or the text is no JSON object.
    package static func first(in services: String) -> String? {
        guard let services = (try? JSONValue(parsing: services))?.object else { return nil }
        let labels = services.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        return labels.lazy
            .flatMap { services[$0]?.array ?? [] }
            .compactMap { $0["credentials"]?["uri"]?.string }
            .compactMap(databaseURL)
            .first
    }

    private static func databaseURL(_ uri: String) -> String? {
        guard let colon = uri.utf8.firstIndex(of: UInt8(ascii: ":")),
            let scheme = schemes[uri[..<colon].lowercased()],
            uri.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }),
            let rest = URLRest(Array(uri.utf8[uri.utf8.index(after: colon)...]))
        else { return nil }
        return scheme + ":" + String(decoding: rest.bytes, as: UTF8.self)
    }
}

/// A version 4 UUID (RFC 9562, section 5.4).
enum GUID {
    /// - Parameter bytes: 16 random bytes.
    static func text(_ bytes: [UInt8]) -> String {
        var text = ""
        for (index, byte) in bytes.prefix(16).enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            let marked =
                switch index {
                case 6: byte & 0x0F | 0x40
                case 8: byte & 0x3F | 0x80
                default: byte
                }
            text += String(marked >> 4, radix: 16) + String(marked & 15, radix: 16)
        }
        return text
    }
}
