import JSON

/// VCAP_APPLICATION, as the platform set it for all instances and as one instance sees it.
enum VCAPApplication {
    /// Adds host, port, instance_index and instance_id of this instance. What is no JSON object stays as it is.
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
