package import JSON
import Rootfs

/// What the controller asks for: the body of `POST /stage/<guid>`.
package struct StagingRequest: Hashable, Sendable {
    /// The largest body that is read, in bytes.
    package static let maximumSize = 1 << 20

    package struct Fault: Error, Hashable, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// The app's space: tenants' tasks are run in turn. Empty if the request names none.
    let space: String
    let org: String
    let app: String
    let appName: String
    /// As the request has them; they may hold passwords.
    let environment: [Variable]
    let callback: String?
    /// MiB; nil: the server's own limits.
    let memory: Int64?
    let disk: Int64?
    let stack: StackName?
    let appBits: String
    let droplet: String
    let oldCache: String?
    let newCache: String?
    let cacheChecksum: String?
    let cacheAlgorithm: String?
    /// As `stage-download` takes them; nil: those that the server has for the stack detect.
    let buildpacks: JSONValue?

    struct Variable: Hashable, Sendable {
        let name: String
        let value: String
    }

    /// The request as it is kept until the task has ended.
    let json: JSONValue

    /// - Throws: a sentence that shows no secret.
    package init(_ json: JSONValue) throws(Fault) {
        func text(_ value: JSONValue?) -> String? { value?.string.flatMap { $0.isEmpty ? nil : $0 } }
        guard json.object != nil else { throw Fault(description: "the request is no JSON object") }
        guard let data = json["lifecycle"]?["buildpack_lifecycle"] ?? json["lifecycle_data"], data.object != nil else {
            throw Fault(description: "lifecycle.buildpack_lifecycle is missing")
        }
        guard let appBits = text(data["app_bits_download_uri"]) else {
            throw Fault(description: "app_bits_download_uri is missing")
        }
        guard let droplet = text(data["droplet_upload_uri"]) else {
            throw Fault(description: "droplet_upload_uri is missing")
        }
        let buildpacks = data["buildpacks"] ?? .null
        guard buildpacks == .null || buildpacks.array?.allSatisfy({ text($0["url"]) != nil }) == true else {
            throw Fault(description: "buildpacks is no list of buildpacks with a url each")
        }
        var variables: [Variable] = []
        for item in json["environment"]?.array ?? [] {
            guard let name = item["name"]?.string, let value = item["value"]?.string, !name.isEmpty,
                !name.utf8.contains(UInt8(ascii: "=")), !(name + value).utf8.contains(0)
            else { throw Fault(description: "environment is no list of names and values") }
            variables.append(Variable(name: name, value: value))
        }
        func limit(_ name: String, _ range: ClosedRange<Int64>) throws(Fault) -> Int64? {
            guard let value = json[name], value != .null else { return nil }
            guard let number = value.integer, number == 0 || range.contains(number) else {
                throw Fault(description: "\(name) is no number of MiB from \(range.lowerBound) to \(range.upperBound)")
            }
            return number == 0 ? nil : number
        }
        memory = try limit("memory_mb", 16...(1 << 20))
        disk = try limit("disk_mb", 64...(1 << 20))
        if let name = text(data["stack"]) {
            guard let stack = try? StackName(name) else { throw Fault(description: "the stack is no stack's name") }
            self.stack = stack
        } else {
            stack = nil
        }
        environment = variables
        (self.appBits, self.droplet) = (appBits, droplet)
        self.buildpacks = [.null, []].contains(buildpacks) ? nil : buildpacks
        space = text(json["space_guid"]) ?? text(json["space_name"]) ?? ""
        org = text(json["org_guid"]) ?? text(json["org_name"]) ?? ""
        app = text(json["app_guid"]) ?? ""
        appName = text(json["app_name"]) ?? ""
        callback = text(json["completion_callback"])
        oldCache = text(data["buildpack_cache_download_uri"])
        newCache = text(data["buildpack_cache_upload_uri"])
        cacheChecksum = text(data["buildpack_cache_checksum"])
        cacheAlgorithm = text(data["buildpack_cache_checksum_algorithm"])
        self.json = json
    }

    /// The variables of `stage-download`.
    var download: JSONObject {
        var variables: JSONObject = ["DOWNLOAD_URL": .string(appBits)]
        variables["BUILDPACKS"] = buildpacks
        variables["BUILDPACK_CACHE_DOWNLOAD_URI"] = oldCache.map { .string($0) }
        variables["BUILDPACK_CACHE_CHECKSUM"] = cacheChecksum.map { .string($0) }
        variables["BUILDPACK_CACHE_CHECKSUM_ALGORITHM"] = cacheAlgorithm.map { .string($0) }
        return variables
    }

    /// The variables of `stage-upload`.
    var upload: JSONValue {
        var variables: JSONObject = ["DROPLET_UPLOAD_URL": .string(droplet)]
        variables["BUILDPACK_CACHE_UPLOAD_URI"] = newCache.map { .string($0) }
        return .object(variables)
    }

    /// How the droplet's server takes it: Cistern's own routes want a PUT, cc-uploader wants a POST.
    var uploadForm: String {
        // scheme:, host, path
        let parts = droplet.split(separator: "/", maxSplits: 2)
        return parts.count == 3 && parts[2].hasPrefix("droplets/") ? "put" : "post"
    }
}
