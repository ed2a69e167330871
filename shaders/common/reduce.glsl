// reduce.glsl: sums and maxima over a workgroup, right at any subgroup size.
//
// The including shader declares its workgroup size as GROUP. Every invocation gets the result.
shared float reduce_slots[GROUP];

float group_add(float value)
{
    value = subgroupAdd(value);
    if (gl_NumSubgroups == 1u)
        return value;
    barrier();
    if (subgroupElect())
        reduce_slots[gl_SubgroupID] = value;
    barrier();
    float total = 0.0;
    for (uint i = 0u; i < gl_NumSubgroups; i++)
        total += reduce_slots[i];
    return total;
}

float group_max(float value)
{
    value = subgroupMax(value);
    if (gl_NumSubgroups == 1u)
        return value;
    barrier();
    if (subgroupElect())
        reduce_slots[gl_SubgroupID] = value;
    barrier();
    float largest = reduce_slots[0];
    for (uint i = 1u; i < gl_NumSubgroups; i++)
        largest = max(largest, reduce_slots[i]);
    return largest;
}
