// A network of our own: the app goes out through it, and stores and vault are reached in it alone.

@description('Where it is.')
param location string

@description('In front of the names.')
param name string

@description('What is reached privately: the resource by its type and name, which of its services, and the zone of names that it is found by.')
param targets { name: string, type: string, resource: string, service: string, zone: string }[]

@description('The zones of names, each once.')
param zones string[]

@description('Tags of every resource.')
param tags object

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' existing = {
  name: '${name}-network'

  resource endpoints 'subnets' existing = {
    name: 'endpoints'
  }
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for item in zones: {
    name: item
    location: 'global'
    tags: tags
  }
]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (item, i) in zones: {
    parent: zone[i]
    name: 'network'
    location: 'global'
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: network.id }
    }
  }
]

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for item in targets: {
    name: '${name}-${item.name}'
    location: location
    tags: tags
    properties: {
      subnet: { id: network::endpoints.id }
      privateLinkServiceConnections: [
        {
          name: item.name
          properties: {
            privateLinkServiceId: resourceId(item.type, item.resource)
            groupIds: [item.service]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (item, i) in targets: {
    parent: endpoint[i]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: item.service
          properties: { privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', item.zone) }
        }
      ]
    }
    dependsOn: [zone]
  }
]
