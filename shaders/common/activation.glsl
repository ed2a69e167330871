// activation.glsl: gated activations; GLU (1: silu, 2: gelu by tanh, 3: gelu by erf) is the includer's.

// erf to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
float erf_approx(float x)
{
    float t = 1.0 / (1.0 + 0.3275911 * abs(x));
    float poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t +
                  0.254829592) * t;
    return sign(x) * (1.0 - poly * exp(-x * x));
}

float glu(float gate, float up)
{
    if (GLU == 1u)
        return gate / (1.0 + exp(-gate)) * up;
    if (GLU == 2u) { // 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), clamped where tanh is ±1
        float t = clamp(0.7978845608 * (gate + 0.044715 * gate * gate * gate), -15.0, 15.0);
        return 0.5 * gate * (1.0 + tanh(t)) * up;
    }
    return 0.5 * gate * (1.0 + erf_approx(gate * 0.7071067812)) * up;
}
