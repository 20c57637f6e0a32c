import JSON
import OCI
package import Runtime

/// Builds an SPDX 2.3 document.
package struct SPDXDocument {
    /// The identifier of the document itself, for relationships.
    package static let itself = "SPDXRef-DOCUMENT"
    /// The URI below which documents, and the builds of provenance, have their names. Nothing is served there.
    package static let space = "https://cloudfoundry.org/cistern"

    package struct Package {
        package let id: String
        let name: String
        let version: String
        let purpose: String
        /// The SHA-256 of the package's content, in hexadecimal.
        let sha256: String
        let purl: String?
        let sourceInfo: String
        let license: String
        let comment: String

        /// Empty values are not written.
        package init(
            id: String, name: String, version: String = "", purpose: String = "", sha256: String = "",
            purl: String? = nil, sourceInfo: String = "", license: String = "", comment: String = ""
        ) {
            self.id = id
            self.name = name
            self.version = version
            self.purpose = purpose
            self.sha256 = sha256
            self.purl = purl
            self.sourceInfo = sourceInfo
            self.license = license
            self.comment = comment
        }
    }

    package struct ExternalDocument {
        let id: String
        let namespace: String
        /// SPDX 2.3 asks for SHA-1 here (section 6.6).
        let sha1: String

        package init(id: String, namespace: String, sha1: String) {
            self.id = id
            self.namespace = namespace
            self.sha1 = sha1
        }
    }

    let name: String
    let created: Timestamp
    package var comment = ""
    package var externalDocuments: [ExternalDocument] = []
    private var packages: [JSONValue] = []
    private var relationships: [JSONValue] = []
    /// The texts of licenses, by the identifiers that refer to them.
    private var licenses: [String: String] = [:]
    private var ids: Set<String> = [Self.itself]

    package init(name: String, created: Timestamp) {
        self.name = name
        self.created = created
    }

    /// Makes an identifier that no other element has from any text (section 3.2: letters, digits, `.` and `-`).
    package mutating func makeID(_ text: String) -> String {
        let base = "SPDXRef-" + Self.idString(text)
        var id = base
        var number = 2
        while !ids.insert(id).inserted {
            id = "\(base)-\(number)"
            number += 1
        }
        return id
    }

    package mutating func add(_ package: Package) {
        var json: JSONObject = [
            "SPDXID": .string(package.id), "copyrightText": "NOASSERTION", "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
            "name": .string(package.name),
        ]
        func set(_ name: String, _ value: String) { if !value.isEmpty { json[name] = .string(value) } }
        set("versionInfo", package.version)
        set("primaryPackagePurpose", package.purpose)
        set("sourceInfo", package.sourceInfo)
        set("comment", package.comment)
        if !package.sha256.isEmpty {
            json["checksums"] = [["algorithm": "SHA256", "checksumValue": .string(package.sha256)]]
        }
        if let purl = package.purl {
            json["externalRefs"] = [
                [
                    "referenceCategory": "PACKAGE-MANAGER", "referenceLocator": .string(purl), "referenceType": "purl",
                ]
            ]
        }
        if !package.license.isEmpty { json["licenseDeclared"] = .string(reference(toLicense: package.license)) }
        packages.append(.object(json))
    }

    package mutating func relate(_ element: String, _ type: String, _ other: String) {
        relationships.append([
            "relatedSpdxElement": .string(other), "relationshipType": .string(type), "spdxElementId": .string(element),
        ])
    }

    /// The document, and its namespace, which has a digest of the content, so that no other document has the same.
    /// - Parameter kind: a word that is put into the namespace.
    package func finish(_ kind: String) -> (namespace: String, bytes: [UInt8]) {
        var json: JSONObject = [
            "SPDXID": .string(Self.itself),
            "creationInfo": [
                // Cistern's version is left out, so that all versions describe the same content by the same bytes.
                "created": .string(created.rfc3339), "creators": ["Tool: cistern"],
            ],
            "dataLicense": "CC0-1.0", "name": .string(name), "packages": .array(packages),
            "relationships": .array(relationships), "spdxVersion": "SPDX-2.3",
        ]
        if !comment.isEmpty { json["comment"] = .string(comment) }
        if !externalDocuments.isEmpty {
            json["externalDocumentRefs"] = .array(
                externalDocuments.map {
                    [
                        "checksum": ["algorithm": "SHA1", "checksumValue": .string($0.sha1)],
                        "externalDocumentId": .string($0.id), "spdxDocument": .string($0.namespace),
                    ]
                })
        }
        if !licenses.isEmpty {
            json["hasExtractedLicensingInfos"] = .array(
                licenses.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map {
                    [
                        "extractedText": .string($0.value), "licenseId": .string($0.key),
                        "name": .string($0.value),
                    ]
                })
        }
        let namespace = "\(Self.space)/spdx/\(kind)/\(Digest.of(JSONValue.object(json).canonicalBytes).hex)"
        json["documentNamespace"] = .string(namespace)
        return (namespace, JSONValue.object(json).canonicalBytes)
    }

    /// The identifier by which the document refers to a license's text. The text is not taken for an SPDX expression,
    /// since whether it is one depends on a list of licenses that grows.
    private mutating func reference(toLicense text: String) -> String {
        let id = "LicenseRef-\(Digest.of(text.utf8).hex.prefix(16))"
        licenses[id] = text
        return id
    }

    /// The first 200 bytes of a text, in which all but letters, digits, `.` and `-` become `-`.
    private static func idString(_ text: String) -> String {
        let bytes = text.utf8.prefix(200).map { byte -> UInt8 in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."):
                byte
            default: UInt8(ascii: "-")
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
