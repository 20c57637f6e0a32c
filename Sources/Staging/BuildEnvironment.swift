import JSON
package import Launcher
import Runtime

/// The environment of the buildpacks' programs. It is made anew: of the process's own environment only what a buildpack
/// is meant to see gets into it.
package enum BuildEnvironment {
    /// A variable of the request.
    package struct Variable: Hashable, Sendable {
        package let name: String
        package let value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }

        /// The variables of a file: `[{"name","value"}]`, at most 4 MiB.
        /// - Throws: `.other` with the path, never with a value.
        package static func read(_ path: String) throws(BuildError) -> [Variable] {
            let bytes: [UInt8]
            do throws(SmallFile.Failure) {
                bytes = try SmallFile.read(path, maximum: 4 << 20)
            } catch {
                throw BuildError(.other, "\(error)")
            }
            // What a parser says about the text may repeat a part of it.
            let variables = (try? JSONValue(parsing: bytes))?.elements { (item: JSONValue) -> Variable? in
                guard let name = item["name"]?.string, let value = item["value"]?.string, !name.isEmpty,
                    !name.utf8.contains(UInt8(ascii: "=")), !(name + value).utf8.contains(0)
                else { return nil }
                return Variable(name: name, value: value)
            }
            guard let variables else { throw BuildError(.other, "\(path): it is no list of environment variables") }
            return variables
        }
    }

    /// What is taken over from the process's own environment, besides `CF_INSTANCE_…`, unless the request has it.
    private static let inherited = [
        "CF_STACK", "CF_SYSTEM_CERT_PATH", "LANG", "MEMORY_LIMIT", "PATH", "VCAP_APPLICATION", "VCAP_PLATFORM_OPTIONS",
        "VCAP_SERVICES",
    ]

    /// - Parameters:
    ///   - own: the process's own environment.
    ///   - requested: the request's variables, later ones win. They override all but DATABASE_URL.
    ///   - home: HOME, unless the request has one; likewise `temporary` for TMPDIR.
    ///   - epoch: SOURCE_DATE_EPOCH, unless the request has one: the time that the droplet's entries get, so that what
    ///     compilers write down agrees with it.
    package static func make(
        own: Environment, requested: [Variable], home: String, temporary: String, epoch: Int64
    ) -> Environment {
        var environment = Environment([])
        environment["HOME"] = home
        environment["LANG"] = "C.UTF-8"
        environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment["SOURCE_DATE_EPOCH"] = String(epoch)
        environment["TMPDIR"] = temporary
        environment["USER"] = "vcap"
        for name in inherited {
            if let value = own.value(name) { environment.set(name, value) }
        }
        for entry in own.entries where entry.hasPrefix("CF_INSTANCE_") {
            guard let end = entry.bytes.firstIndex(of: UInt8(ascii: "=")) else { continue }
            environment.set(
                String(decoding: entry.bytes[..<end], as: UTF8.self), SystemText(bytes: entry.bytes[(end + 1)...]))
        }
        for variable in requested { environment[variable.name] = variable.value }
        if let services = environment["VCAP_SERVICES"], let url = DatabaseURL.first(in: services) {
            environment["DATABASE_URL"] = url
        }
        return environment
    }
}
