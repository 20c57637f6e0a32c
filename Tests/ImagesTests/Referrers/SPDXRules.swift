import Droplets
import Foundation
import Images
import ImagesTesting
import JSON
import Packages
import Rootfs
import TestSupport

/// What SPDX 2.3 asks of a JSON document: the members, their values, and that everything that is named is there.
struct SPDXRules {
    private(set) var problems: [String] = []
    private var elements: Set<String> = ["SPDXRef-DOCUMENT"]
    private var documents: Set<String> = []
    private var licenses: Set<String> = []

    static let purposes: Set<String> = [
        "APPLICATION", "FRAMEWORK", "LIBRARY", "CONTAINER", "OPERATING_SYSTEM", "DEVICE", "FIRMWARE", "SOURCE",
        "ARCHIVE", "FILE", "INSTALL", "OTHER",
    ]
    static let relationships: Set<String> = ["DESCRIBES", "CONTAINS", "GENERATED_FROM", "BUILD_TOOL_OF"]

    init(_ bytes: [UInt8]) throws {
        let json = try JSONValue(parsing: bytes)
        expect(json.canonicalBytes == bytes, "canonical")
        members(
            json, "the document",
            required: [
                "SPDXID", "creationInfo", "dataLicense", "documentNamespace", "name", "packages", "relationships",
                "spdxVersion",
            ], optional: ["comment", "externalDocumentRefs", "hasExtractedLicensingInfos"])
        expect(json["spdxVersion"] == "SPDX-2.3" && json["dataLicense"] == "CC0-1.0", "version or licence")
        expect(json["SPDXID"] == "SPDXRef-DOCUMENT" && json["name"]?.string?.isEmpty == false, "id or name")
        expect(json["documentNamespace"], #"https://[A-Za-z0-9./-]+"#, "namespace")
        expect(
            json["creationInfo"]?["created"], #"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"#, "created")
        for creator in json["creationInfo"]?["creators"]?.array ?? [.null] {
            expect(creator, #"(Tool|Organization|Person): .+"#, "creator")
        }
        for other in json["externalDocumentRefs"]?.array ?? [] { check(document: other) }
        for license in json["hasExtractedLicensingInfos"]?.array ?? [] {
            members(license, "a licence", required: ["extractedText", "licenseId", "name"])
            expect(license["licenseId"], "LicenseRef-[A-Za-z0-9.-]+", "licenceId")
            expect(licenses.insert(license["licenseId"]?.string ?? "").inserted, "a licence twice")
        }
        for package in json["packages"]?.array ?? [] { check(package: package) }
        var described = false
        var related: Set<String> = []
        for relationship in json["relationships"]?.array ?? [] {
            check(relationship: relationship)
            related.insert(relationship["relatedSpdxElement"]?.string ?? "")
            related.insert(relationship["spdxElementId"]?.string ?? "")
            described = described || relationship["relationshipType"] == "DESCRIBES"
        }
        expect(described, "it describes nothing")
        expect(elements.isSubset(of: related), "elements without relationship: \(elements.subtracting(related))")
    }

    private mutating func check(document: JSONValue) {
        members(document, "an external document", required: ["checksum", "externalDocumentId", "spdxDocument"])
        expect(document["externalDocumentId"], "DocumentRef-[A-Za-z0-9.+-]+", "external id")
        expect(document["spdxDocument"], #"https://[A-Za-z0-9./-]+"#, "external namespace")
        expect(document["checksum"]?["algorithm"] == "SHA1", "external documents have a SHA-1")
        expect(document["checksum"]?["checksumValue"], "[0-9a-f]{40}", "external checksum")
        documents.insert(document["externalDocumentId"]?.string ?? "")
    }

    private mutating func check(package: JSONValue) {
        let name = package["name"]?.string ?? "?"
        members(
            package, "package \(name)",
            required: [
                "SPDXID", "copyrightText", "downloadLocation", "filesAnalyzed", "licenseConcluded", "licenseDeclared",
                "name",
            ], optional: ["checksums", "comment", "externalRefs", "primaryPackagePurpose", "sourceInfo", "versionInfo"])
        expect(package["SPDXID"], "SPDXRef-[A-Za-z0-9.-]+", "id of \(name)")
        expect(elements.insert(package["SPDXID"]?.string ?? "").inserted, "an id twice: \(name)")
        expect(!name.isEmpty && !name.contains("\n"), "name")
        expect(package["filesAnalyzed"] == .bool(false), "without files nothing of them was analyzed")
        expect(package["downloadLocation"] == "NOASSERTION", "location of \(name)")
        for member in ["licenseDeclared", "licenseConcluded"] {
            let license = package[member]?.string ?? ""
            expect(license == "NOASSERTION" || licenses.contains(license), "licence of \(name)")
        }
        if let purpose = package["primaryPackagePurpose"] {
            expect(Self.purposes.contains(purpose.string ?? ""), "purpose of \(name)")
        }
        for checksum in package["checksums"]?.array ?? [] {
            expect(checksum["algorithm"] == "SHA256", "algorithm of \(name)")
            expect(checksum["checksumValue"], "[0-9a-f]{64}", "checksum of \(name)")
        }
        for reference in package["externalRefs"]?.array ?? [] {
            members(reference, "a reference", required: ["referenceCategory", "referenceLocator", "referenceType"])
            expect(reference["referenceCategory"] == "PACKAGE-MANAGER" && reference["referenceType"] == "purl", "purl")
            expect(
                reference["referenceLocator"],
                #"pkg:(deb|apk)/[a-z0-9._-]+/[A-Za-z0-9._%-]+@[A-Za-z0-9._~:%-]+\?arch=[A-Za-z0-9._%-]+&distro=[a-z0-9._-]+"#,
                "purl of \(name)")
        }
    }

    private mutating func check(relationship: JSONValue) {
        members(
            relationship, "a relationship", required: ["relatedSpdxElement", "relationshipType", "spdxElementId"])
        expect(Self.relationships.contains(relationship["relationshipType"]?.string ?? ""), "relationship")
        for member in ["relatedSpdxElement", "spdxElementId"] {
            let parts = (relationship[member]?.string ?? "").split(separator: ":")
            if parts.count == 2 {
                expect(documents.contains(String(parts[0])), "another document that is not named: \(parts)")
            } else {
                expect(elements.contains(String(parts.first ?? "")), "an element that is not there: \(parts)")
            }
        }
    }

    private mutating func members(
        _ json: JSONValue, _ what: String, required: Set<String>, optional: Set<String> = []
    ) {
        let names = Set((json.object ?? [:]).keys)
        expect(required.isSubset(of: names), "\(what) lacks \(required.subtracting(names))")
        expect(names.isSubset(of: required.union(optional)), "\(what) has \(names.subtracting(required))")
    }

    private mutating func expect(_ json: JSONValue?, _ pattern: String, _ what: String) {
        let text = json?.string ?? ""
        expect(text.range(of: "^(\(pattern))$", options: .regularExpression) != nil, "\(what): \(text)")
    }

    private mutating func expect(_ holds: Bool, _ what: String) {
        if !holds { problems.append(what) }
    }
}
